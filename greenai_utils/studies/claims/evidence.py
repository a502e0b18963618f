"""Evidence for the claims: the authors' data or a profile's own tables, brought into one form and judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from greenai_utils.stats.intervals import NOTHING, Effect
from greenai_utils.studies.claims import effects
from greenai_utils.studies.claims.claims import RULES, verdict
from greenai_utils.studies.claims.effects import LayerStudy
from greenai_utils.studies.published.analysis import SEARCH, energy_to_target
from greenai_utils.studies.search_progress import chosen_by

CHANCE = 0.1
"""Accuracy of guessing: every data set of the study has ten classes of about equal size."""

SOUND_COMPARISONS = (("gp", "grid"), ("gp", "random"), ("tpe", "grid"), ("tpe", "random"))
"""Bayesian optimisation done right and what it is said to dominate, by the strategies' names. Unlike the published
strategies these draw on a dimension's own scale."""
COMPARISONS = (("bayesian", "grid"), ("bayesian", "random"), *SOUND_COMPARISONS)
"""The same, and as the strategies are named in the authors' data."""
PUBLISHED_COMPARISONS = (("published_gp", "published_grid"), ("published_gp", "published_random"))
"""The same as the authors programmed them: a claim about Bayesian optimisation is judged on these only where nothing
better was run, for their faults have lines of their own."""

MENDED_COMPARISONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "d03 chosen by test accuracy": PUBLISHED_COMPARISONS,
    "d06 grid without upper bounds": (("published_gp", "grid"),),
    "d07 kernel fixed, inputs unscaled": (("gp", "published_grid"), ("gp", "published_random")),
    "d08 learning rate not on a log scale": SOUND_COMPARISONS,
}
"""Defects of the searches, and what competes when one of them is mended."""

_RESHUFFLE = "fault:reshuffle"
FAULT_SWITCHES: Mapping[str, tuple[str, object, object]] = {
    "d01 batches never reshuffled": ("protocol", _RESHUFFLE, "corrected"),
    "d02 beta2 never applied": ("protocol", "fault:apply_beta2", "corrected"),
    "d04 evaluated in training mode": ("protocol", "fault:evaluate_in_eval_mode", "corrected"),
    "d05 every batch and loss copied": ("protocol", "fault:stay_on_device", "corrected"),
    "d09 dense networks without activation": ("dense_relu", False, True),
}
"""Defects with a switch in our trials: its column, and the value with the fault and without it."""

IDLE = "idle"
"""The load of a comparison of meters under which nothing is trained."""

_NETWORK = ["dataset", "side", "network", "linear_layers", "conv_layers", "relu", "batch_size"]
_ADAM = ["learning_rate", "beta1", "beta2", "epsilon", "weight_decay"]
_LENGTH = ["epochs", "max_steps", "schedule", "train_share", "stop_at", "stacked"]


@dataclass(frozen=True)
class Evidence:
    """What claims are judged on; a part that there are no data for is empty.

    Attributes:
        searches: One row a search and target: dataset, unit (the searches of one unit compare), strategy, target (a
            share of the best accuracy), best_accuracy, total_j, unread_j (the part of it that was imputed),
            energy_to_target_j, tuner_j if the tuner was metered.
        trials: One row a tuning trial, in order: dataset, search, energy_j (charged to it), imputed (whether that was
            not read over it), accuracy, and alike: whether only Adam's settings differ within its search.
        single: One row a random configuration of one network, trained by itself: dataset, space, energy_j (read).
        ladders: One row a training on a ladder: dataset, ladder, repetition, energy_j, accuracy.
        layers: The layer study of each data set.
        crossed: Whether the same configurations were trained with ReLU and without.
        switched: Trials under any protocol, for the defects that have a switch.
        meters: One row a window that was measured by several meters at once: load, authors_j (by the mean of what
            nvidia-smi samples) and counter_j (by the energy counter).
        mended: Defects that the searches do not have.
        estimated: Whether the joules are an estimate.
        tuner_estimated: Whether the tuners' own joules are.
    """

    searches: pd.DataFrame = field(default_factory=pd.DataFrame)
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    single: pd.DataFrame = field(default_factory=pd.DataFrame)
    ladders: pd.DataFrame = field(default_factory=pd.DataFrame)
    layers: Mapping[str, LayerStudy] = field(default_factory=dict)
    crossed: bool = False
    switched: pd.DataFrame = field(default_factory=pd.DataFrame)
    meters: pd.DataFrame = field(default_factory=pd.DataFrame)
    mended: frozenset[str] = frozenset()
    estimated: bool = False
    tuner_estimated: bool = False


class _Number(NamedTuple):
    """One number that decides a claim."""

    claim: str
    dataset: str
    detail: str
    effect: Effect
    estimated: bool = False


def published_evidence(tuning: pd.DataFrame, layers: pd.DataFrame) -> Evidence:
    """The authors' own data: one search of each strategy in each of 12 cells, and two layer studies.

    They are tables as `tuning_trials` and `layer_trainings` of that chapter return them.
    """
    searches = energy_to_target(tuning)
    unit = searches["hyperparameters"].astype(str) + " " + searches["network"]
    ordered = tuning.sort_values([*SEARCH, "trial"])
    return Evidence(
        searches=searches.assign(unit=unit, unread_j=0.0),
        trials=ordered.assign(search=ordered.groupby(SEARCH).ngroup(), alike=True, imputed=False),
        layers={str(name): LayerStudy.from_trainings(part) for name, part in layers.groupby("dataset")},
    )


def record_evidence(
    trials: pd.DataFrame, searches: pd.DataFrame, ladders: pd.DataFrame, meters: pd.DataFrame
) -> Evidence:
    """What a profile has recorded.

    Joules that were assigned to a trial rather than read over it (`imputed_j`) count towards what a search spent, and
    are flagged there; what moves the energy of a training is asked of joules only that were read over it.

    Args:
        trials: Rows of `trials.csv`, those that are planned.
        searches: Rows of `tuning_summary.csv`, one for each `target`, a further column.
        ladders: Rows of `trials.csv`, with `ladder` and `rung`.
        meters: One row a window: load, authors_j, counter_j; perhaps none.
    """
    read = trials[(trials["status"] == "ok") & trials["gross_j"].notna()]
    read = read.assign(energy_j=read["gross_j"].astype(float))
    climbed = ladders[(ladders["status"] == "ok") & ladders["gross_j"].notna()]
    layers = read[read["study"] == "layers"].assign(
        linear=read["linear_layers"], conv=read["conv_layers"], accuracy=read["test_accuracy"]
    )
    with_relu, without = (set(map(tuple, layers.loc[layers["relu"] == relu, _ADAM].to_numpy())) for relu in (1, 0))
    return Evidence(
        searches=searches.assign(
            unit=searches["network"] + " " + searches["seed"].astype(str),
            # A search in which no training of full length finished has found nothing better than guessing.
            best_accuracy=searches["test_accuracy"].fillna(CHANCE),
        ),
        trials=_tuning_of(trials),
        single=_single_of(read),
        ladders=climbed.assign(energy_j=climbed["gross_j"].astype(float), accuracy=chosen_by(climbed).astype(float)),
        layers={
            str(name): LayerStudy.from_trainings(part, dense_relu=bool(part["dense_relu"].any()))
            for name, part in layers.groupby("dataset")
        },
        crossed=bool(without & with_relu),
        switched=trials,
        meters=meters,
        mended=_mended_in(trials),
        estimated=bool((trials["source"] == "estimate").any()),
        tuner_estimated=bool((searches["tuner_source"] == "estimate").any()),
    )


def judge(evidence: Evidence, name: str) -> pd.DataFrame:
    """Judge every claim, and every defect of the published code, on one body of evidence.

    Args:
        evidence: See `published_evidence` and `record_evidence`.
        name: What the evidence is called.

    Returns:
        One row a claim, data set (`all` pools several) and comparison: claim, evidence, dataset, estimand, effect,
        ci_low, ci_high, threshold, verdict, n (units that the interval rests on). A claim of which the evidence holds
        nothing has one row, `not testable here`.
    """
    numbers: dict[str, list[_Number]] = {}
    for part, find in _FINDERS.items():
        for number in find(evidence) if len(getattr(evidence, part)) else ():
            if number.effect.n:
                numbers.setdefault(number.claim, []).append(number)
    rows = []
    for claim, rule in RULES.items():
        for _, dataset, detail, effect, estimated in numbers.get(claim, [_Number(claim, "all", "", NOTHING)]):
            estimand = f"{rule.estimand}: {detail}" if detail else rule.estimand
            judged = verdict(rule, effect, estimated or evidence.estimated)
            rows.append([claim, name, dataset, estimand, *effect[:3], rule.threshold, judged, effect.n])
    effect_columns = ["effect", "ci_low", "ci_high", "threshold", "verdict", "n"]
    return pd.DataFrame(rows, columns=["claim", "evidence", "dataset", "estimand", *effect_columns])


def _parts(frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The rows of each data set, and all of them where there are several."""
    yield from ((str(name), part) for name, part in frame.groupby("dataset"))
    if frame["dataset"].nunique() > 1:
        yield "all", frame


def _on_searches(evidence: Evidence) -> Iterable[_Number]:
    for dataset, part in _parts(evidence.searches):
        once = part[part["target"] == part["target"].min()]
        compared = _held(COMPARISONS, part) or _held(PUBLISHED_COMPARISONS, part)
        peaks = {"1a bayesian peak accuracy": compared}
        peaks |= {name: _held(pairs, part) for name, pairs in MENDED_COMPARISONS.items() if name in evidence.mended}
        for claim, comparisons in peaks.items():
            for a, b in comparisons:
                yield _Number(claim, dataset, f"{a} against {b}", effects.accuracy_gain(once, a, b))
        for a, b in compared:
            yield from _joules_of_searches(evidence, dataset, part[part["strategy"].isin([a, b])], a, b)


def _held(comparisons: Iterable[tuple[str, str]], searches: pd.DataFrame) -> list[tuple[str, str]]:
    strategies = set(searches["strategy"])
    return [pair for pair in comparisons if strategies.issuperset(pair)]


def _joules_of_searches(evidence: Evidence, dataset: str, searches: pd.DataFrame, a: str, b: str) -> Iterable[_Number]:
    share = searches["unread_j"].sum() / searches["total_j"].sum()
    flag, imputed = (f"; {_imputed(share)}", True) if share > 0 else ("", False)
    for target, part in searches.groupby("target"):
        detail = f"{a} against {b}, {float(str(target)):.0%} of the best{flag}"
        ratio = effects.energy_to_target_ratio(part, a, b)
        yield _Number("1b bayesian energy to target", dataset, detail, ratio, imputed)
        if "tuner_j" in part:
            ratio = effects.energy_to_target_ratio(part, a, b, overhead=True)
            yield _Number("2 bayesian overhead", dataset, detail, ratio, imputed or evidence.tuner_estimated)
    # As many trials of one network differ in joules by what their hyperparameters do, which imputed joules leave out.
    read = searches[(searches["target"] == searches["target"].min()) & (searches["unread_j"] == 0)]
    if len(read):
        ratio = effects.total_energy_ratio(read, a, b)
        yield _Number("1c bayesian total energy", dataset, f"{a} against {b}", ratio)


def _imputed(share: float) -> str:
    """How much of the joules behind a number was not read, for its estimand."""
    return f"{100 * share:.0f} % of the joules imputed"


def _on_trials(evidence: Evidence) -> Iterable[_Number]:
    for dataset, part in _parts(evidence.trials):
        share = part.loc[part["imputed"], "energy_j"].sum() / part["energy_j"].sum()
        progress = effects.progress_ratio(part, CHANCE)
        flag = _imputed(share) if share > 0 else ""
        yield _Number("4b diminishing within a search", dataset, flag, progress, bool(share > 0))
        alike = part[part["alike"].to_numpy(dtype=bool)]
        if alike["search"].duplicated().any():
            yield _Number("6a hyperparameters within a search", dataset, "", effects.energy_spread(alike))


def _on_single(evidence: Evidence) -> Iterable[_Number]:
    for (dataset, space), part in evidence.single.groupby(["dataset", "space"]):
        spread = effects.relative_spread(part["energy_j"].to_numpy())
        yield _Number("6c hyperparameters trained alone", str(dataset), f"space {space}", spread)


def _on_ladders(evidence: Evidence) -> Iterable[_Number]:
    for (dataset, ladder), trials in evidence.ladders.groupby(["dataset", "ladder"]):
        bend = effects.ladder_bend(trials)
        yield _Number("4c diminishing along a ladder", str(dataset), f"ladder of {ladder}", bend)


def _on_meters(evidence: Evidence) -> Iterable[_Number]:
    trained = evidence.meters[evidence.meters["load"] != IDLE].dropna(subset=["authors_j", "counter_j"])
    for load, windows in trained.groupby("load"):
        effect = effects.mean_percent(np.log((windows["authors_j"] / windows["counter_j"]).to_numpy(dtype=float)))
        yield _Number("d12 power sampled ten times a second", "all", f"{load} load", effect)


def _on_layers(evidence: Evidence) -> Iterable[_Number]:
    for dataset, study in evidence.layers.items():
        over_linear, over_relu = (effects.layer_cost_ratio(study, other) for other in ("linear", "relu"))
        energy, loss = effects.reduction(study)
        found = {
            "3a convolution over linear": over_linear,
            "3b convolution over relu": over_relu,
            "4a diminishing between networks": effects.marginal_return(study, CHANCE),
            "5a halving energy": energy,
            "5b halving accuracy": loss,
            "6b hyperparameters between configurations": effects.configuration_spread(study),
            "d11 trainings taken for independent": over_linear,
        }
        if evidence.crossed:
            found["d10 relu confounded with configurations"] = over_relu
        yield from (_Number(claim, dataset, "", effect) for claim, effect in found.items())


def _on_switches(evidence: Evidence) -> Iterable[_Number]:
    for dataset, trials in _parts(evidence.switched):
        for claim, (column, faulty, mended) in FAULT_SWITCHES.items():
            yield _Number(claim, dataset, "", _fault_effect(trials, column, faulty, mended, RULES[claim].about_energy))


_FINDERS = {
    "searches": _on_searches,
    "trials": _on_trials,
    "single": _on_single,
    "layers": _on_layers,
    "ladders": _on_ladders,
    "switched": _on_switches,
    "meters": _on_meters,
}
"""What finds numbers, by the part of the evidence that it looks at."""


def _fault_effect(trials: pd.DataFrame, column: str, faulty: object, mended: object, joules: bool) -> Effect:
    """What a fault changes, in joules or accuracy, over configurations trained with it and without, seed by seed."""
    if faulty == _RESHUFFLE:
        trials = trials[trials["epochs"] > 1]  # a single epoch has nothing to reshuffle
    # A diverged training classifies by chance.
    accuracy = trials["test_accuracy"].where(trials["status"] == "ok", CHANCE)
    configuration = [*_NETWORK, *_ADAM, *_LENGTH, *(name for name in ("protocol", "dense_relu") if name != column)]
    keys = [*configuration, "seed", "repetition"]
    # As text, for an empty value is equal to no other one.
    frame = (
        trials[keys]
        .map(str)
        .assign(value=np.log(trials["gross_j"]) if joules else accuracy, **{column: trials[column]})
    )
    with_fault, without = (frame[frame[column] == side].groupby(keys)["value"].mean() for side in (faulty, mended))
    each = (with_fault - without).dropna().groupby(level=configuration).mean().to_numpy()
    return effects.mean_percent(each) if joules else effects.mean_effect(100 * each)


def _tuning_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of searches, with the joules charged to them."""
    tuning = trials[trials["study"] == "tuning"].sort_values(["search", "search_trial"])
    read = tuning["gross_j"].astype(float)
    charged = read.fillna(tuning["imputed_j"].astype(float))
    known, all_read = (each.notna().groupby(tuning["search"]).transform("all") for each in (charged, read))
    return tuning.assign(
        energy_j=charged,
        imputed=read.isna(),
        # A training that stopped early is no result of its search.
        accuracy=chosen_by(tuning).where(tuning["fidelity"] >= 1),
        alike=all_read & _are_alike(tuning, ["search"]) & (tuning["status"] == "ok"),
    )[known]


def _are_alike(trials: pd.DataFrame, by: list[str]) -> pd.Series:
    """Whether the trials of a group train one network at one length; an empty value is a value like others."""
    groups = trials[[*_NETWORK, *_LENGTH]].map(str).groupby([trials[name] for name in by])
    return (groups.transform("nunique") == 1).all(axis="columns")


def _single_of(trials: pd.DataFrame) -> pd.DataFrame:
    """Random configurations that were each trained by itself; none where they differ in more than Adam's settings."""
    single = trials[trials["study"] == "alone"]
    single = single[_are_alike(single, ["dataset", "space"])]
    # A configuration that was trained several times counts once, by its mean.
    return single.groupby(["dataset", "space", *_ADAM], as_index=False)["energy_j"].mean()


def _mended_in(trials: pd.DataFrame) -> frozenset[str]:
    """The defects that searches of ours are free of. Strategies mend their own; protocol and space mend the others."""
    tuning = trials[trials["search"].notna()]
    mended = {
        "d03 chosen by test accuracy": (tuning["protocol"] == "corrected").all(),
        "d06 grid without upper bounds": True,
        "d07 kernel fixed, inputs unscaled": True,
        "d08 learning rate not on a log scale": tuning["space"].str.startswith("corrected").all(),
    }
    return frozenset(name for name, is_mended in mended.items() if is_mended)
