"""The numbers that decide a claim, each with an interval over what is independent.

What is independent is a *unit*: a cell of the tuning study (its searches pair by strategy), a search, or a
configuration. Trainings of one configuration are never taken for independent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import FloatArray
from greenai_utils.stats.diminishing_returns import LEAST_OBSERVATIONS, delta_aicc_of_samples, diminishing_returns
from greenai_utils.stats.intervals import (
    NOTHING,
    Effect,
    IntArray,
    bootstrap_effect,
    bootstrap_means,
    effect_of_samples,
    times_drawn,
)
from greenai_utils.stats.rounding import on_grid

FACTORS = ["linear", "conv", "relu"]
"""What a layer study crosses."""


def mean_effect(values: FloatArray) -> Effect:
    """Mean of one value a unit."""
    return bootstrap_effect(values, lambda sample: sample.mean(axis=1))


def mean_ratio(logarithms: FloatArray, back: Callable[[float], float] = np.exp) -> Effect:
    """Geometric mean of ratios, given by their natural logarithms; or what another rising function makes of it."""
    effect = mean_effect(logarithms)
    estimate, low, high = (float(back(value)) for value in effect[:3])
    return Effect(estimate, low, high, effect.n)


def mean_percent(logarithms: FloatArray) -> Effect:
    """`mean_ratio` as percent more than 1."""
    return mean_ratio(logarithms, lambda value: 100 * np.expm1(value))


def paired_values(searches: pd.DataFrame, columns: list[str], a: str, b: str) -> FloatArray:
    """Columns of the searches of strategies a and b, paired by data set and unit: shape (columns, 2, pairs).

    A pair with an empty value in any of the columns is left out.
    """
    table = searches.pivot_table(index=["dataset", "unit"], columns="strategy", values=columns, aggfunc="first")
    table = table.reindex(columns=pd.MultiIndex.from_product([columns, [a, b]])).dropna()
    return table.to_numpy(dtype=np.float64).T.reshape(len(columns), 2, len(table))


def accuracy_gain(searches: pd.DataFrame, a: str, b: str) -> Effect:
    """Mean difference in best accuracy, a minus b, in percentage points, over pairs of searches."""
    of_a, of_b = paired_values(searches, ["best_accuracy"], a, b)[0]
    return mean_effect(100 * (of_a - of_b))


def total_energy_ratio(searches: pd.DataFrame, a: str, b: str) -> Effect:
    """Geometric mean over pairs of searches of all the joules of a over those of b."""
    of_a, of_b = paired_values(searches, ["total_j"], a, b)[0]
    return mean_ratio(np.log(of_a / of_b))


def energy_to_target_ratio(searches: pd.DataFrame, a: str, b: str, overhead: bool = False) -> Effect:
    """Geometric mean over pairs of searches of the joules of a until the target over those of b.

    A search that never gets there has spent at least all it spent: within a pair both are counted up to what the
    shorter of them spent in all, so that neither gains by having stopped early (a restricted comparison). A pair of
    which neither arrives by then says nothing of what arriving costs, and is left out.

    With overhead each search also pays for its tuner, all of it however early the target was reached.
    """
    filled = searches.assign(energy_to_target_j=searches["energy_to_target_j"].fillna(np.inf))
    names = ["energy_to_target_j", "total_j", *(["tuner_j"] if overhead else [])]
    to_target, total, *tuner = paired_values(filled, names, a, b)
    horizon = total.min(axis=0)
    of_a, of_b = (np.minimum(to_target, horizon) + sum(tuner))[:, (to_target <= horizon).any(axis=0)]
    return mean_ratio(np.log(of_a / of_b))


def progress_ratio(trials: pd.DataFrame, chance: float) -> Effect:
    """What the second half of a search's joules added in accuracy, over what the first half reached above chance.

    Sums over searches of both, so that a search without any success in its first half has no ratio of its own.
    Trials are in order within each search, their accuracy empty where they diverged.
    """
    halves = []
    for _, search in trials.groupby("search", sort=False):
        best = search["accuracy"].fillna(chance).clip(lower=chance).cummax().to_numpy()
        spent = search["energy_j"].cumsum().to_numpy()
        # Of trials that share their joules alike, one may end exactly halfway.
        within = best[on_grid(spent - spent[-1] / 2, spent[-1]) <= 0]
        first = within[-1] if len(within) else chance
        halves.append((best[-1] - first, first - chance))
    return bootstrap_effect(np.array(halves), lambda sample: _divide(*sample.sum(axis=1).T))


def ladder_bend(trials: pd.DataFrame) -> Effect:
    """How much better a saturating curve fits a ladder than a straight line does: AICc of the line less the curve's.

    Bootstrap over repetitions of the whole ladder. Repeats within a sample pass for trainings of their own, which
    speaks for the richer model, the curve: the interval is wide upwards, and its lower end is what has to convince.
    `NOTHING` where a ladder is too short to tell the two apart.
    """
    if len(trials) < LEAST_OBSERVATIONS or trials["energy_j"].nunique() < 3:
        return NOTHING
    energy, accuracy = trials["energy_j"].to_numpy(), trials["accuracy"].to_numpy()
    position, repetitions = pd.factorize(trials["repetition"])

    def of_samples(drawn: IntArray) -> FloatArray:
        return delta_aicc_of_samples(energy, accuracy, times_drawn(drawn, len(repetitions))[:, position])

    effect = effect_of_samples(len(repetitions), of_samples)
    return effect._replace(estimate=diminishing_returns(energy, accuracy).delta_aicc)


def relative_spread(energy_j: FloatArray) -> Effect:
    """Coefficient of variation over configurations of the energy of a training, in percent."""

    def variation(sample: FloatArray) -> FloatArray:
        if sample.shape[1] < 2:  # the jackknife of two leaves one, which varies by nothing known
            return np.full(len(sample), np.nan)
        return 100 * sample.std(axis=1, ddof=1) / sample.mean(axis=1)

    return bootstrap_effect(energy_j, variation)


def energy_spread(trials: pd.DataFrame) -> Effect:
    """Median over searches of the coefficient of variation of a training's energy, in percent.

    It holds the noise of single trainings and any drift of the machine too, so it is an upper bound on what the
    hyperparameters do.
    """
    energy = trials.groupby("search")["energy_j"]
    spread = (100 * energy.std() / energy.mean()).dropna().to_numpy()
    return bootstrap_effect(spread, lambda sample: np.median(sample, axis=1))


@dataclass(frozen=True)
class LayerStudy:
    """The layer study by configuration: what each configuration's trainings cost and reached in each cell.

    Attributes:
        cells: One row a cell: linear, conv, relu.
        energy_j: Mean joules of a training, shape (configurations, cells); NaN where a configuration was not trained.
        accuracy: Mean test accuracy, the same shape.
        mean_noise_j2: Variance of the mean joules that repeated trainings account for, the same shape; NaN without
            repeats.
        strata: Which cells a configuration was trained in: configurations with the same label are exchangeable.
        relu_layers: ReLU layers that a network with ReLU has, averaged over the cells.
    """

    cells: pd.DataFrame
    energy_j: FloatArray
    accuracy: FloatArray
    mean_noise_j2: FloatArray
    strata: list[str]
    relu_layers: float

    @classmethod
    def from_trainings(cls, trainings: pd.DataFrame, dense_relu: bool = False) -> Self:
        """Gather trainings by configuration and cell.

        Of a factor with more than two levels the least and the most are compared. A configuration whose set of cells no
        other one shares, as an interrupted study leaves it, is left out: it could not be exchanged for another.

        Args:
            trainings: One row a training of one data set: linear, conv, relu, configuration, energy_j, accuracy.
            dense_relu: Whether the linear layers of a network with ReLU have one between them too.

        Raises:
            InputError: A cell has no trainings.
        """
        frame = trainings.astype({"relu": int, "energy_j": float, "accuracy": float})
        for factor in FACTORS:
            frame = frame[frame[factor].isin([frame[factor].min(), frame[factor].max()])]
        cells = frame[FACTORS].drop_duplicates().sort_values(FACTORS, ignore_index=True)
        if len(cells) != 2 ** len(FACTORS):
            raise InputError(
                "a layer study crosses two levels of linear, conv and relu",
                f"trainings in {len(cells)} cells",
                "run the missing cells",
            )
        cell_of = frame.groupby(FACTORS).ngroup().astype(str)
        patterns = cell_of.groupby(frame["configuration"]).agg(lambda each: " ".join(sorted(set(each))))
        shared = patterns[patterns.duplicated(keep=False)] if patterns.duplicated().any() else patterns
        order = pd.MultiIndex.from_frame(cells)

        def by_cell(column: str, statistic: Literal["mean", "sem"]) -> FloatArray:
            table = frame.pivot_table(index="configuration", columns=FACTORS, values=column, aggfunc=statistic)
            return table.reindex(shared.index, columns=order).to_numpy(dtype=np.float64)

        levels = cells[["linear", "conv"]].mean()
        relu_layers = float(levels["conv"] + (levels["linear"] - 1 if dense_relu else 0))
        noise = by_cell("energy_j", "sem") ** 2
        return cls(cells, by_cell("energy_j", "mean"), by_cell("accuracy", "mean"), noise, shared.tolist(), relu_layers)

    def mean_of(self, **levels: str) -> FloatArray:
        """Weights that average the cells at the least or most (`min`, `max`) of some factors, shape (cells,)."""
        chosen = np.all([self.cells[name] == self.cells[name].agg(level) for name, level in levels.items()], axis=0)
        return chosen / chosen.sum()

    def added(self, factor: str) -> FloatArray:
        """Weights of the cells' means that give the upper level less the lower one, shape (cells,)."""
        return self.mean_of(**{factor: "max"}) - self.mean_of(**{factor: "min"})

    def added_layer(self, factor: str) -> FloatArray:
        """The same for a single layer of those that the upper level has more, shape (cells,)."""
        layers = self.relu_layers if factor == "relu" else np.ptp(self.cells[factor])
        return self.added(factor) / layers

    def effect(self, statistic: Callable[[FloatArray, FloatArray], FloatArray]) -> Effect:
        """Bootstrap over configurations a statistic of the cells' mean joules and accuracies, each (samples, cells)."""
        units = np.hstack([self.energy_j, self.accuracy])
        return bootstrap_means(units, lambda means: statistic(*np.hsplit(means, 2)), self.strata)


def layer_cost_ratio(study: LayerStudy, other: str) -> Effect:
    """Joules that an added convolution costs, over the joules (as a magnitude) of an added `linear` or `relu` layer."""
    convolution, layer = study.added_layer("conv"), study.added_layer(other)
    return study.effect(lambda energy, _: _divide(energy @ convolution, np.abs(energy @ layer)))


def marginal_return(study: LayerStudy, chance: float) -> Effect:
    """Accuracy that a joule of added convolutions buys, over what a joule of the network with few of them buys.

    Of the latter what chance gives is taken off, which costs nothing.
    """
    added, base = study.added("conv"), study.mean_of(conv="min")

    def ratio(energy: FloatArray, accuracy: FloatArray) -> FloatArray:
        dearer, bought = energy @ added, accuracy @ base - chance
        # Where more layers take no more joules, or few of them learn nothing, returns cannot diminish.
        rule = (dearer > 0) & (bought > 0)
        returns = _divide(accuracy @ added, dearer) * _divide(energy @ base, bought)
        return np.where(rule, returns, np.inf)

    return study.effect(ratio)


def reduction(study: LayerStudy) -> tuple[Effect, Effect]:
    """What the smallest network spends and loses against the largest.

    That is its joules over those of the largest, and the accuracy it loses in percentage points (negative: it gains).
    """
    small, large = study.mean_of(linear="min", conv="min"), study.mean_of(linear="max", conv="max")
    energy = study.effect(lambda energy, _: _divide(energy @ small, energy @ large))
    loss = study.effect(lambda _, accuracy: 100 * (accuracy @ large - accuracy @ small))
    return energy, loss


def configuration_spread(study: LayerStudy) -> Effect:
    """Standard deviation of a training's energy between configurations of one network, percent, noise taken out.

    The moment estimator of the variance between configurations (Searle, Casella and McCulloch 1992), relative to the
    mean of each cell and averaged over cells; 0 where the noise of the means explains all of it. `NOTHING` where
    configurations were not trained repeatedly, so that noise cannot be told apart.
    """
    trained = np.isfinite(study.energy_j)
    if np.isnan(study.mean_noise_j2[trained]).any():
        return NOTHING
    means, n = np.nanmean(study.energy_j, axis=0), trained.sum(axis=0)
    deviation = study.energy_j / means - 1
    units = np.hstack([deviation, deviation**2, study.mean_noise_j2 / means**2])

    def spread(columns: FloatArray) -> FloatArray:
        first, second, noise = np.hsplit(columns, 3)
        between = (second - first**2) * n / (n - 1) - noise
        return 100 * np.sqrt(np.maximum(between.mean(axis=1), 0))

    return bootstrap_means(units, spread, study.strata)


def _divide(above: FloatArray, below: FloatArray) -> FloatArray:
    """The quotient; a positive number over nothing is infinite, and nothing over nothing has no effect: 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), 1.0, np.divide(above, below))
