"""The numbers that decide a claim, each with an interval over what is independent.

What is independent is a *unit*: a cell of the tuning study (its searches pair by strategy), a search, or a
configuration. Trainings of one configuration are never taken for independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, FloatArray, as_list, numbers, require_columns, require_labels, seeded
from greenai_utils.stats.diminishing_returns import LEAST_OBSERVATIONS, delta_aicc_of_samples, diminishing_returns
from greenai_utils.stats.rounding import on_grid

IntArray = NDArray[np.int64]

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST_RESAMPLED = 6
"""Units from which on a bootstrap can reach 95 %: the mean of n units never leaves their range in a sample, and that
range misses the median with probability 2 ** (1 - n)."""

Statistic = Callable[[FloatArray], FloatArray]
"""Samples of units, shape (samples, units, ...), to one number a sample, shape (samples,)."""


class Effect(NamedTuple):
    """An estimate with its interval and its number of units; the ends are NaN where one unit allows none."""

    estimate: float
    low: float
    high: float
    n: int


NOTHING = Effect(np.nan, np.nan, np.nan, 0)
"""The effect where there is no unit."""


def bootstrap_effect(
    units: FloatArray,
    statistic: Statistic,
    strata: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """A statistic of independent units with its expanded percentile bootstrap interval (95 %).

    The plain percentile interval of few units is too short, by about sqrt((n - 1) / n) and by the difference of t from
    the normal distribution; the expanded one takes quantiles further out, so that for a mean it agrees with Student's
    interval (Hesterberg 2015, The American Statistician 69:371-386, section 5.2). Fewer than six units have Student's
    interval with the jackknife's standard error (Tukey 1958) instead: no bootstrap of theirs reaches 95 %.

    Args:
        units: Shape (n, ...): what is known of each unit.
        statistic: Vectorised over samples.
        strata: A label for each unit; each stratum keeps its size in every sample. The smallest decides the expansion.
        resamples: Bootstrap samples.
        seed: Of the resampling.
    """
    if not len(units):
        return NOTHING
    return _interval(len(units), strata, lambda drawn: statistic(units[drawn]), resamples, seed)


def bootstrap_means(
    units: FloatArray,
    statistic: Statistic,
    strata: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """`bootstrap_effect` of a statistic that needs no more of a sample than the means of its columns.

    Args:
        units: Shape (n, columns); NaN where a unit has no value. In a stratum, a column is empty throughout or nowhere.
        statistic: Column means of samples, shape (samples, columns), to one number a sample.
        strata: As in `bootstrap_effect`.
        resamples: Bootstrap samples.
        seed: Of the resampling.
    """
    known, values = np.isfinite(units).astype(np.float64), np.nan_to_num(units)

    def of_samples(drawn: IntArray) -> FloatArray:
        weights = _counts(drawn, len(units))
        return statistic((weights @ values) / (weights @ known))

    return _interval(len(units), strata, of_samples, resamples, seed)


def paired_values(searches: pd.DataFrame, columns: Columns, a: str, b: str) -> FloatArray:
    """Columns of two strategies' searches, paired by data set and unit.

    Args:
        searches: One row a search: dataset, unit, strategy and the columns.
        columns: Numeric; a pair with an empty value in any of them is left out.
        a: A strategy.
        b: Another.

    Returns:
        Shape (columns, 2, pairs).

    Raises:
        InputError: A column is missing, or a strategy has two searches in one unit.
    """
    keys, names = ["dataset", "unit", "strategy"], as_list(columns)
    require_labels(searches, keys)
    require_columns(searches, names)
    if searches.duplicated(keys).any():
        raise InputError("a strategy has one search a unit", "several", "tell them apart by their unit")
    table = searches.pivot_table(index=keys[:2], columns="strategy", values=names, aggfunc="first")
    table = table.reindex(columns=pd.MultiIndex.from_product([names, [a, b]])).dropna()
    return table.to_numpy(dtype=np.float64).T.reshape(len(names), 2, len(table))


def accuracy_gain(searches: pd.DataFrame, a: str, b: str) -> Effect:
    """Mean difference in best accuracy, a minus b, in percentage points, over pairs of searches."""
    of_a, of_b = paired_values(searches, "best_accuracy", a, b)[0]
    return mean_effect(100 * (of_a - of_b))


def total_energy_ratio(searches: pd.DataFrame, a: str, b: str) -> Effect:
    """Geometric mean over pairs of searches of all the joules of a over those of b."""
    return _energy_ratio(paired_values(searches, "total_j", a, b)[0])


def energy_to_target_ratio(searches: pd.DataFrame, a: str, b: str, overhead: bool = False) -> Effect:
    """Geometric mean over pairs of searches of the joules of a until the target over those of b.

    A search that never gets there has spent at least all it spent: within a pair both are counted up to what the
    shorter of them spent in all, so that neither gains by having stopped early (a restricted comparison). A pair of
    which neither arrives by then says nothing of what arriving costs, and is left out.

    Args:
        searches: One row a search: dataset, unit, strategy, energy_to_target_j (empty where never reached), total_j,
            and tuner_j if overhead is to be added.
        a: A strategy.
        b: Another.
        overhead: Whether each search also pays for its tuner, all of it however early the target was reached.

    Raises:
        InputError: As `paired_values`; joules that are not positive, of which a ratio means nothing.
    """
    filled = searches.assign(energy_to_target_j=searches["energy_to_target_j"].fillna(np.inf))
    names = ["energy_to_target_j", "total_j", *(["tuner_j"] if overhead else [])]
    to_target, total, *tuner = paired_values(filled, names, a, b)
    horizon = total.min(axis=0)
    arrived = (to_target <= horizon).any(axis=0)
    joules = np.minimum(to_target, horizon)
    return _energy_ratio((joules + tuner[0] if overhead else joules)[:, arrived])


def progress_ratio(trials: pd.DataFrame, chance: float) -> Effect:
    """What the second half of a search's joules added in accuracy, over what the first half reached above chance.

    Sums over searches of both, so that a search without any success in its first half has no ratio of its own.

    Args:
        trials: One row a trial, in order within each search: search, energy_j, accuracy (empty where it diverged).
        chance: Accuracy of guessing.
    """
    halves = []
    for _, search in trials.groupby("search", sort=False):
        best = search["accuracy"].fillna(chance).clip(lower=chance).cummax().to_numpy()
        spent = search["energy_j"].cumsum().to_numpy()
        # Of trials that share their joules alike, one may end exactly halfway.
        within = np.flatnonzero(on_grid(spent - spent[-1] / 2, spent[-1]) <= 0)
        first = best[within[-1]] if len(within) else chance
        halves.append((best[-1] - first, first - chance))
    return bootstrap_effect(np.array(halves), _ratio_of_sums)


def ladder_bend(trials: pd.DataFrame) -> Effect:
    """How much better a saturating curve fits a ladder than a straight line does: AICc of the line less the curve's.

    Bootstrap over repetitions of the whole ladder. Repeats within a sample pass for trainings of their own, which
    speaks for the richer model, the curve: the interval is wide upwards, and its lower end is what has to convince.

    Args:
        trials: One row a training of one ladder: repetition, energy_j, accuracy.

    Returns:
        `NOTHING` where a ladder is too short to tell the two apart.
    """
    if len(trials) < LEAST_OBSERVATIONS or trials["energy_j"].nunique() < 3:
        return NOTHING
    energy, accuracy = trials["energy_j"].to_numpy(), trials["accuracy"].to_numpy()
    position, repetitions = pd.factorize(trials["repetition"])

    def of_samples(drawn: IntArray) -> FloatArray:
        return delta_aicc_of_samples(energy, accuracy, _counts(drawn, len(repetitions))[:, position])

    effect = _interval(len(repetitions), None, of_samples, RESAMPLES, seed=0)
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

    Args:
        trials: One row a trial: search, energy_j.
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
    def from_trainings(cls, trainings: pd.DataFrame, dense_relu: bool = False) -> "LayerStudy":
        """Gather trainings by configuration and cell.

        Of a factor with more than two levels the least and the most are compared. A configuration whose set of cells no
        other one shares, as an interrupted study leaves it, is left out: it could not be exchanged for another.

        Args:
            trainings: One row a training of one data set: linear, conv, relu, configuration, energy_j, accuracy.
            dense_relu: Whether the linear layers of a network with ReLU have one between them too.

        Raises:
            InputError: A column is missing or has empty values, a factor has one level, a cell has no trainings.
        """
        factors = ["linear", "conv", "relu"]
        require_labels(trainings, [*factors, "configuration"])
        require_columns(trainings, ["energy_j", "accuracy"])
        frame = trainings[[*factors, "configuration"]].astype({"relu": int})
        frame = frame.assign(energy_j=numbers(trainings, "energy_j"), accuracy=numbers(trainings, "accuracy"))
        for factor in factors:
            frame = frame[frame[factor].isin([frame[factor].min(), frame[factor].max()])]
        cells = frame[factors].drop_duplicates().sort_values(factors, ignore_index=True)
        if len(cells) != 8:
            raise InputError(
                "a layer study crosses two levels of linear, conv and relu",
                f"trainings in {len(cells)} cells",
                "run the missing cells",
            )
        cell_of = frame.groupby(factors).ngroup().astype(str)
        patterns = cell_of.groupby(frame["configuration"]).agg(lambda each: " ".join(sorted(set(each))))
        shared = patterns[patterns.duplicated(keep=False)] if patterns.duplicated().any() else patterns

        def by_cell(column: str, summary: Literal["mean", "sem"]) -> FloatArray:
            table = frame.pivot_table(index="configuration", columns=factors, values=column, aggfunc=summary)
            return table.reindex(shared.index, columns=pd.MultiIndex.from_frame(cells)).to_numpy(dtype=np.float64)

        levels = frame[["linear", "conv"]].agg(["min", "max"]).mean()
        relu_layers = float(levels["conv"] + (levels["linear"] - 1 if dense_relu else 0))
        noise = by_cell("energy_j", "sem") ** 2
        return cls(cells, by_cell("energy_j", "mean"), by_cell("accuracy", "mean"), noise, shared.tolist(), relu_layers)

    def contrast(self, factor: str) -> FloatArray:
        """Weights of the cells' means that give the upper level less the lower one, shape (cells,)."""
        upper = (self.cells[factor] == self.cells[factor].max()).to_numpy()
        return np.where(upper, 1 / upper.sum(), -1 / (~upper).sum())

    def added_layers(self, factor: str) -> float:
        """How many layers of a type the upper level has more than the lower one."""
        return self.relu_layers if factor == "relu" else float(self.cells[factor].max() - self.cells[factor].min())

    def cell(self, linear: str, conv: str) -> FloatArray:
        """Weights that average the cells with the least or most (`min`, `max`) layers of both types, shape (cells,)."""
        chosen = (self.cells["linear"] == self.cells["linear"].agg(linear)) & (
            self.cells["conv"] == self.cells["conv"].agg(conv)
        )
        return np.where(chosen, 1 / chosen.sum(), 0.0)

    def effect(self, statistic: Callable[[FloatArray, FloatArray], FloatArray]) -> Effect:
        """Bootstrap over configurations a statistic of the cells' mean joules and accuracies, each (samples, cells)."""
        cells = len(self.cells)
        units = np.hstack([self.energy_j, self.accuracy])
        return bootstrap_means(units, lambda means: statistic(means[:, :cells], means[:, cells:]), self.strata)


def layer_cost_ratio(study: LayerStudy, other: str) -> Effect:
    """Joules that an added convolution costs, over the joules (as a magnitude) of an added layer of another type.

    Args:
        study: The layer study.
        other: `linear` or `relu`.
    """
    convolution = study.contrast("conv") / study.added_layers("conv")
    layer = study.contrast(other) / study.added_layers(other)
    return study.effect(lambda energy, _: _divide(energy @ convolution, np.abs(energy @ layer)))


def marginal_return(study: LayerStudy, chance: float) -> Effect:
    """Accuracy that a joule of added convolutions buys, over what a joule of the network with few of them buys.

    Args:
        study: The layer study.
        chance: Accuracy of guessing, which costs nothing.
    """
    added = study.contrast("conv")
    few = (study.cells["conv"] == study.cells["conv"].min()).to_numpy()
    base = few / few.sum()

    def ratio(energy: FloatArray, accuracy: FloatArray) -> FloatArray:
        dearer, bought = energy @ added, accuracy @ base - chance
        # Where more layers take no more joules, or few of them learn nothing, returns cannot diminish.
        rule = (dearer > 0) & (bought > 0)
        returns = _divide(accuracy @ added, dearer) * _divide(energy @ base, bought)
        return np.where(rule, returns, np.inf)

    return study.effect(ratio)


def reduction(study: LayerStudy) -> tuple[Effect, Effect]:
    """What the smallest network spends and loses against the largest.

    Returns:
        Its joules over those of the largest, and the accuracy it loses in percentage points (negative: it gains).
    """
    small, large = study.cell("min", "min"), study.cell("max", "max")
    energy = study.effect(lambda energy, _: _divide(energy @ small, energy @ large))
    loss = study.effect(lambda _, accuracy: 100 * (accuracy @ large - accuracy @ small))
    return energy, loss


def configuration_spread(study: LayerStudy) -> Effect:
    """Standard deviation of a training's energy between configurations of one network, percent, noise taken out.

    The moment estimator of the variance between configurations (Searle, Casella and McCulloch 1992), relative to the
    mean of each cell and averaged over cells; 0 where the noise of the means explains all of it.

    Returns:
        `NOTHING` where configurations were not trained repeatedly, so that noise cannot be told apart.
    """
    if np.isnan(study.mean_noise_j2[np.isfinite(study.energy_j)]).any():
        return NOTHING
    trained = np.isfinite(study.energy_j)
    means = np.nanmean(study.energy_j, axis=0)
    deviation = study.energy_j / means - 1
    units = np.hstack([deviation, deviation**2, study.mean_noise_j2 / means**2])
    cells, n = len(study.cells), trained.sum(axis=0)

    def spread(columns: FloatArray) -> FloatArray:
        first, second, noise = columns[:, :cells], columns[:, cells : 2 * cells], columns[:, 2 * cells :]
        between = (second - first**2) * n / (n - 1) - noise
        return 100 * np.sqrt(np.maximum(between.mean(axis=1), 0))

    return bootstrap_means(units, spread, study.strata)


def mean_effect(values: FloatArray) -> Effect:
    """Mean of one value a unit."""
    return bootstrap_effect(values, lambda sample: sample.mean(axis=1))


def _groups(n: int, strata: Sequence[object] | None) -> list[IntArray]:
    labels = np.zeros(n, dtype=int) if strata is None else pd.factorize(np.asarray(strata, dtype=object))[0]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _drawn(groups: list[IntArray], resamples: int, seed: int) -> IntArray:
    """Indices of the units in each sample, shape (resamples, units)."""
    generator = seeded(seed)
    return np.hstack([group[generator.integers(len(group), size=(resamples, len(group)))] for group in groups])


def _counts(drawn: IntArray, units: int) -> FloatArray:
    """How often each sample holds each unit, shape (samples, units), from the indices that it holds."""
    numbered = drawn + units * np.arange(len(drawn))[:, None]
    return np.bincount(numbered.ravel(), minlength=len(drawn) * units).reshape(len(drawn), units).astype(np.float64)


def _interval(
    units: int, strata: Sequence[object] | None, of_samples: Callable[[IntArray], FloatArray], resamples: int, seed: int
) -> Effect:
    """The effect of a statistic of the units whose indices a sample holds: (samples, any number) to (samples,)."""
    groups = _groups(units, strata)
    estimate = float(of_samples(np.arange(units)[None])[0])
    smallest = min(len(group) for group in groups)
    if smallest < 2:
        return Effect(estimate, np.nan, np.nan, units)
    if smallest < FEWEST_RESAMPLED:
        return Effect(estimate, *_jackknife(estimate, groups, of_samples), units)
    tail = stats.norm.cdf(np.sqrt(smallest / (smallest - 1)) * stats.t.ppf((1 - LEVEL) / 2, smallest - 1))
    # No interpolation, which has no answer next to an infinite ratio.
    low, high = np.quantile(of_samples(_drawn(groups, resamples, seed)), [tail, 1 - tail], method="nearest")
    return Effect(estimate, float(low), float(high), units)


def _jackknife(
    estimate: float, groups: list[IntArray], of_samples: Callable[[IntArray], FloatArray]
) -> tuple[float, float]:
    """Student's interval with the stratified jackknife's standard error; NaN where a unit cannot be spared.

    For the mean of one value a unit it is Student's own. The degrees of freedom are those of the smallest stratum.
    """
    everyone = np.concatenate(groups)
    variance = 0.0
    for group in groups:
        without = of_samples(np.array([everyone[everyone != one] for one in group]))
        if not np.isfinite(without).all():
            return np.nan, np.nan
        variance += float((len(group) - 1) / len(group) * np.sum((without - without.mean()) ** 2))
    half = stats.t.ppf((1 + LEVEL) / 2, min(len(group) for group in groups) - 1) * np.sqrt(variance)
    return estimate - half, estimate + half


def mean_percent(logarithms: FloatArray) -> Effect:
    """Geometric mean of ratios, given by their natural logarithms, as percent more than 1."""
    return _of_logarithms(logarithms, lambda value: 100 * np.expm1(value))


def _energy_ratio(joules: FloatArray) -> Effect:
    """Geometric mean of the first row over the second, shape (2, pairs)."""
    if (joules <= 0).any():
        least = repr(float(joules.min()))
        raise InputError("joules that are compared are positive", least, "leave out what was not measured")
    return _of_logarithms(np.log(joules[0] / joules[1]), np.exp)


def _of_logarithms(values: FloatArray, back: Callable[[float], float]) -> Effect:
    """The mean of logarithms and its interval, each turned back by a rising function."""
    effect = mean_effect(values)
    if not effect.n:
        return NOTHING
    estimate, low, high = (float(back(value)) for value in effect[:3])
    return Effect(estimate, low, high, effect.n)


def _ratio_of_sums(sample: FloatArray) -> FloatArray:
    return _divide(sample[..., 0].sum(axis=1), sample[..., 1].sum(axis=1))


def _divide(above: FloatArray, below: FloatArray) -> FloatArray:
    """The quotient; a positive number over nothing is infinite, and nothing over nothing has no effect: 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), 1.0, np.divide(above, below))
