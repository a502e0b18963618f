"""Evidence for the claims: the authors' data or a profile's own tables, brought into one form and judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import require_columns
from greenai_utils.studies.claims import effects
from greenai_utils.studies.claims.claims import CLAIMS, COLUMNS, DEFECTS, verdict
from greenai_utils.studies.claims.effects import NOTHING, Effect, LayerStudy
from greenai_utils.studies.published.analysis import SEARCH, energy_to_target

EVIDENCE = ("published", "records", "recorded")
"""The authors' data; the profile's own records; measurements recorded elsewhere that ship with the repository."""

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

EnergyKind = Literal["measured", "estimate", "none"]
Quantity = Literal["accuracy", "energy"]
_RESHUFFLE_SWITCH = "fault:reshuffle"

FAULT_SWITCHES: Mapping[str, tuple[str, object, object, Quantity]] = {
    "d01 batches never reshuffled": ("protocol", _RESHUFFLE_SWITCH, "corrected", "accuracy"),
    "d02 beta2 never applied": ("protocol", "fault:apply_beta2", "corrected", "accuracy"),
    "d04 evaluated in training mode": ("protocol", "fault:evaluate_in_eval_mode", "corrected", "accuracy"),
    "d05 every batch and loss copied": ("protocol", "fault:stay_on_device", "corrected", "energy"),
    "d09 dense networks without activation": ("dense_relu", False, True, "accuracy"),
}
"""Defects with a switch in our trials: its column, the value with the fault and without it, and what is compared."""

IDLE = "idle"
"""The load of a comparison of meters under which nothing is trained."""

_NETWORK = ["dataset", "side", "network", "linear_layers", "conv_layers", "relu", "batch_size"]
_ADAM = ["learning_rate", "beta1", "beta2", "epsilon", "weight_decay"]
_LENGTH = ["epochs", "max_steps", "schedule", "train_share", "stop_at", "stacked"]
_PLACE = ["study", "status", "search", "search_trial", "fidelity", "space", "configuration", "seed", "repetition"]
_OBSERVED = ["validation_accuracy", "test_accuracy", "gross_j", "source"]


@dataclass(frozen=True)
class Evidence:
    """What claims are judged on; a part that there are no data for is empty.

    Attributes:
        kind: One of `EVIDENCE`.
        searches: One row a search and target: dataset, unit (the searches of one unit compare), strategy, target (a
            share of the best accuracy), best_accuracy, total_j, unread_j (the part of it that was imputed),
            energy_to_target_j, tuner_j if the tuner was metered.
        trials: One row a tuning trial, in order: dataset, search, energy_j (charged to it), imputed (whether that was
            not read over it), accuracy, and alike: whether only Adam's settings differ within its search.
        alone: One row a random configuration of one network, trained alone: dataset, space, energy_j (read over it).
        ladders: One row a training on a ladder: dataset, ladder, repetition, energy_j, accuracy.
        layers: The layer study of each data set.
        crossed: Whether the same configurations were trained with ReLU and without.
        switched: Trials under any protocol, for the defects that have a switch.
        meters: One row a window that was measured by several meters at once: load, authors_j (by the mean of what
            nvidia-smi samples) and counter_j (by the energy counter).
        mended: Defects that the searches do not have.
        energy: What the joules are worth.
        tuner_energy: What the tuners' own joules are worth.
    """

    kind: str
    searches: pd.DataFrame
    trials: pd.DataFrame
    alone: pd.DataFrame
    ladders: pd.DataFrame
    layers: Mapping[str, LayerStudy]
    crossed: bool
    switched: pd.DataFrame
    meters: pd.DataFrame
    mended: frozenset[str]
    energy: EnergyKind
    tuner_energy: EnergyKind

    @classmethod
    def nothing(cls, kind: str) -> "Evidence":
        """Evidence that holds nothing: every claim is not testable on it."""
        none = pd.DataFrame()
        return cls(kind, none, none, none, none, {}, False, none, none, frozenset(), "none", "none")


class _Finding(NamedTuple):
    """One number that decides a claim."""

    claim: str
    dataset: str
    detail: str
    effect: Effect
    estimated: bool = False


def published_evidence(tuning: pd.DataFrame, layers: pd.DataFrame) -> Evidence:
    """The authors' own data: one search of each strategy in each of 12 cells, and two layer studies.

    Args:
        tuning: Trials of the tuning study, as `published.tuning_trials` returns them.
        layers: Trainings of the layer study, as `published.layer_trainings` returns them.
    """
    searches = energy_to_target(tuning)
    ordered = tuning.sort_values([*SEARCH, "trial"])
    return replace(
        Evidence.nothing("published"),
        searches=searches.assign(
            unit=searches["hyperparameters"].astype(str) + " " + searches["network"], unread_j=0.0
        ),
        trials=ordered.assign(search=ordered.groupby(SEARCH).ngroup(), alike=True, imputed=False),
        layers={str(name): LayerStudy.from_trainings(part) for name, part in layers.groupby("dataset")},
        energy="measured",
    )


def record_evidence(tables: Mapping[str, pd.DataFrame], kind: str = "records") -> Evidence:
    """What a profile has recorded.

    Joules that were assigned to a trial rather than read over it (`imputed_j`) count towards what a search spent, and
    are flagged there; what moves the energy of a training is asked of joules alone that were read over it.

    Args:
        tables: Read are, each if it is there: `trials` (rows of `trials.csv`, those that are planned), `searches` (rows
            of `tuning_summary.csv`, one for each `target`, a further column), `ladders` (rows of `trials.csv`, with
            `ladder` and `rung`) and `meter_comparison`. What rests on a table that is not there is not testable.
        kind: `records` for the profile's own, `recorded` for measurements that ship with the repository.

    Raises:
        InputError: The kind is unknown, or a table lacks a column.
    """
    if kind not in EVIDENCE:
        raise InputError(f"evidence is one of {', '.join(EVIDENCE)}", repr(kind), "name one of these")
    none = pd.DataFrame()
    trials, summary = tables.get("trials", none), tables.get("searches", none)
    if len(trials):
        require_columns(trials, [*_NETWORK, *_ADAM, *_LENGTH, *_PLACE, *_OBSERVED, "protocol", "dense_relu"])
    return Evidence(
        kind=kind,
        searches=_searches_of(summary),
        trials=_tuning_of(trials),
        alone=_alone_of(trials),
        ladders=_ladders_of(tables.get("ladders", none)),
        layers=_layers_of(trials),
        crossed=_are_crossed(trials),
        switched=trials,
        meters=tables.get("meter_comparison", none),
        mended=_mended_in(trials),
        energy=_worth(trials if len(trials) else summary, "source"),
        tuner_energy=_worth(summary, "tuner_source"),
    )


def judge(evidence: Evidence) -> pd.DataFrame:
    """Judge every claim, and every defect of the published code, on one body of evidence.

    Args:
        evidence: See `published_evidence` and `record_evidence`.

    Returns:
        One row a claim, data set (`all` pools several) and comparison: claim, evidence, dataset, estimand, effect,
        ci_low, ci_high, threshold, verdict, n (units that the interval rests on). A claim of which the evidence holds
        nothing has one row, `not testable here`.
    """
    findings = [
        finding
        for find in (_on_searches, _on_trials, _on_layers, _on_ladders, _on_switches, _on_meters)
        for finding in find(evidence)
    ]
    rows = []
    for name, claim in (*CLAIMS.items(), *DEFECTS.items()):
        found = [finding for finding in findings if finding.claim == name and finding.effect.n]
        if claim.about_energy and evidence.energy == "none":
            found = []
        for _, dataset, detail, effect, estimated in found or [_Finding(name, "all", "", NOTHING)]:
            estimand = f"{claim.estimand}: {detail}" if detail else claim.estimand
            judged = verdict(claim, effect, estimated or evidence.energy == "estimate")
            rows.append([name, evidence.kind, dataset, estimand, *effect[:3], claim.threshold, judged, effect.n])
    return pd.DataFrame(rows, columns=COLUMNS)


def _parts(frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The rows of each data set, and all of them where there are several."""
    if frame.empty:
        return
    yield from ((str(name), part) for name, part in frame.groupby("dataset"))
    if frame["dataset"].nunique() > 1:
        yield "all", frame


def _on_searches(evidence: Evidence) -> Iterable[_Finding]:
    for dataset, part in _parts(evidence.searches):
        once = part[part["target"] == part["target"].min()]
        compared = _held(COMPARISONS, part) or _held(PUBLISHED_COMPARISONS, part)
        peaks = {"1a bayesian peak accuracy": compared}
        peaks |= {name: _held(pairs, part) for name, pairs in MENDED_COMPARISONS.items() if name in evidence.mended}
        for claim, comparisons in peaks.items():
            for a, b in comparisons:
                yield _Finding(claim, dataset, f"{a} against {b}", effects.accuracy_gain(once, a, b))
        if evidence.energy != "none":
            for a, b in compared:
                yield from _joules_of_searches(evidence, dataset, part[part["strategy"].isin([a, b])], a, b)


def _held(comparisons: Iterable[tuple[str, str]], searches: pd.DataFrame) -> list[tuple[str, str]]:
    strategies = set(searches["strategy"])
    return [pair for pair in comparisons if strategies.issuperset(pair)]


def _joules_of_searches(evidence: Evidence, dataset: str, searches: pd.DataFrame, a: str, b: str) -> Iterable[_Finding]:
    share = searches["unread_j"].sum() / searches["total_j"].sum()
    flag, imputed = (_imputed(share), True) if share > 0 else ("", False)
    for target, part in searches.groupby("target"):
        detail = f"{a} against {b}, {float(str(target)):.0%} of the best{flag}"
        ratio = effects.energy_to_target_ratio(part, a, b)
        yield _Finding("1b bayesian energy to target", dataset, detail, ratio, imputed)
        if evidence.tuner_energy != "none":
            ratio = effects.energy_to_target_ratio(part, a, b, overhead=True)
            estimated = imputed or evidence.tuner_energy == "estimate"
            yield _Finding("2 bayesian overhead", dataset, detail, ratio, estimated)
    # As many trials of one network differ in joules by what their hyperparameters do, which imputed joules leave out.
    read = searches[(searches["target"] == searches["target"].min()) & (searches["unread_j"] == 0)]
    if len(read):
        ratio = effects.total_energy_ratio(read, a, b)
        yield _Finding("1c bayesian total energy", dataset, f"{a} against {b}", ratio)


def _imputed(share: float) -> str:
    """How much of the joules behind a number was not read, for its estimand."""
    return f"; {100 * share:.0f} % of the joules imputed"


def _on_trials(evidence: Evidence) -> Iterable[_Finding]:
    for dataset, part in _parts(evidence.trials):
        share = part.loc[part["imputed"], "energy_j"].sum() / part["energy_j"].sum()
        imputed = bool(share > 0)
        flag = _imputed(share).removeprefix("; ") if imputed else ""
        progress = effects.progress_ratio(part, CHANCE)
        yield _Finding("4b diminishing within a search", dataset, flag, progress, imputed)
        alike = part[part["alike"].to_numpy(dtype=bool)]
        if alike["search"].duplicated().any():
            yield _Finding("6a hyperparameters within a search", dataset, "", effects.energy_spread(alike))
    if len(evidence.alone):
        for (dataset, space), part in evidence.alone.groupby(["dataset", "space"]):
            spread = effects.relative_spread(part["energy_j"].to_numpy())
            yield _Finding("6c hyperparameters trained alone", str(dataset), f"space {space}", spread)


def _on_ladders(evidence: Evidence) -> Iterable[_Finding]:
    if len(evidence.ladders):
        for (dataset, ladder), trials in evidence.ladders.groupby(["dataset", "ladder"]):
            bend = effects.ladder_bend(trials)
            yield _Finding("4c diminishing along a ladder", str(dataset), f"ladder of {ladder}", bend)


def _on_meters(evidence: Evidence) -> Iterable[_Finding]:
    if len(evidence.meters):
        require_columns(evidence.meters, ["load", "authors_j", "counter_j"])
        trained = evidence.meters[evidence.meters["load"] != IDLE].dropna(subset=["authors_j", "counter_j"])
        for load, windows in trained.groupby("load"):
            ratios = np.log((windows["authors_j"] / windows["counter_j"]).to_numpy(dtype=float))
            effect = effects.mean_percent(ratios)
            yield _Finding("d12 power sampled ten times a second", "all", f"{load} load", effect)


def _on_layers(evidence: Evidence) -> Iterable[_Finding]:
    for dataset, study in evidence.layers.items():
        over_linear = effects.layer_cost_ratio(study, "linear")
        over_relu = effects.layer_cost_ratio(study, "relu")
        energy, loss = effects.reduction(study)
        yield _Finding("3a convolution over linear", dataset, "", over_linear)
        yield _Finding("3b convolution over relu", dataset, "", over_relu)
        yield _Finding("4a diminishing between networks", dataset, "", effects.marginal_return(study, CHANCE))
        yield _Finding("5a halving energy", dataset, "", energy)
        yield _Finding("5b halving accuracy", dataset, "", loss)
        yield _Finding("6b hyperparameters between configurations", dataset, "", effects.configuration_spread(study))
        yield _Finding("d11 trainings taken for independent", dataset, "", over_linear)
        if evidence.crossed:
            yield _Finding("d10 relu confounded with configurations", dataset, "", over_relu)


def _on_switches(evidence: Evidence) -> Iterable[_Finding]:
    for dataset, trials in _parts(evidence.switched):
        for claim, (column, faulty, mended, quantity) in FAULT_SWITCHES.items():
            yield _Finding(claim, dataset, "", _fault_effect(trials, column, faulty, mended, quantity))


def _fault_effect(trials: pd.DataFrame, column: str, faulty: object, mended: object, quantity: Quantity) -> Effect:
    """What a fault changes, over the configurations trained with it and without it from the same seeds."""
    if faulty == _RESHUFFLE_SWITCH:
        trials = trials[trials["epochs"] > 1]  # a single epoch has nothing to reshuffle
    if quantity == "accuracy":
        # A diverged training classifies by chance.
        value = trials["test_accuracy"].where(trials["status"] == "ok", CHANCE)
    else:
        value = np.log(trials["gross_j"])
    configuration = [*_NETWORK, *_ADAM, *_LENGTH, *(name for name in ("protocol", "dense_relu") if name != column)]
    keys = [*configuration, "seed", "repetition"]
    # As text, for an empty value is equal to no other one.
    frame = trials[keys].map(str).assign(value=value, **{column: trials[column]}).dropna(subset=["value"])
    with_fault, without = (frame[frame[column] == side].groupby(keys)["value"].mean() for side in (faulty, mended))
    each = (with_fault - without).dropna().groupby(level=configuration).mean().to_numpy()
    return effects.mean_effect(100 * each) if quantity == "accuracy" else effects.mean_percent(each)


def _searches_of(summary: pd.DataFrame) -> pd.DataFrame:
    if summary.empty:
        return summary
    needed = ["dataset", "network", "strategy", "seed", "target", "test_accuracy"]
    needed += ["total_j", "unread_j", "energy_to_target_j", "tuner_j", "tuner_source", "source"]
    require_columns(summary, needed)
    return summary.assign(
        unit=summary["network"] + " " + summary["seed"].astype(str),
        # A search in which no training of full length finished has found nothing better than guessing.
        best_accuracy=summary["test_accuracy"].fillna(CHANCE),
    )


def _tuning_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of searches, with the joules charged to them."""
    if trials.empty:
        return trials
    tuning = trials[(trials["study"] == "tuning") & trials["search"].notna()].sort_values(["search", "search_trial"])
    read, charged = tuning["gross_j"].astype(float), tuning["gross_j"].astype(float)
    if "imputed_j" in tuning:
        charged = charged.fillna(tuning["imputed_j"].astype(float))
    known = charged.notna().groupby(tuning["search"]).transform("all")
    all_read = read.notna().groupby(tuning["search"]).transform("all")
    return tuning.assign(
        energy_j=charged,
        imputed=read.isna(),
        # A training that stopped early is no result of its search.
        accuracy=tuning["validation_accuracy"].fillna(tuning["test_accuracy"]).where(tuning["fidelity"] >= 1),
        alike=all_read & _are_alike(tuning, ["search"]) & (tuning["status"] == "ok"),
    )[known]


def _are_alike(trials: pd.DataFrame, by: list[str]) -> pd.Series:
    """Whether the trials of a group train one network at one length; an empty value is a value like others."""
    groups = trials[[*_NETWORK, *_LENGTH]].map(str).groupby([trials[name] for name in by])
    return (groups.transform("nunique") == 1).all(axis="columns")


def _alone_of(trials: pd.DataFrame) -> pd.DataFrame:
    """Random configurations that were each trained alone; none where they differ in more than Adam's settings."""
    if trials.empty:
        return trials
    alone = trials[(trials["study"] == "alone") & (trials["status"] == "ok") & trials["gross_j"].notna()]
    alone = alone[_are_alike(alone, ["dataset", "space"])].assign(energy_j=alone["gross_j"].astype(float))
    # A configuration that was trained several times counts once, by its mean.
    return alone.groupby(["dataset", "space", *_ADAM], as_index=False)["energy_j"].mean()


def _ladders_of(ladders: pd.DataFrame) -> pd.DataFrame:
    if ladders.empty:
        return ladders
    require_columns(ladders, ["dataset", "ladder", "repetition", "status", *_OBSERVED])
    finished = ladders[(ladders["status"] == "ok") & ladders["gross_j"].notna()]
    return finished.assign(
        energy_j=finished["gross_j"].astype(float),
        accuracy=finished["validation_accuracy"].fillna(finished["test_accuracy"]).astype(float),
    )


def _layers_of(trials: pd.DataFrame) -> dict[str, LayerStudy]:
    if trials.empty:
        return {}
    layers = trials[(trials["study"] == "layers") & (trials["status"] == "ok") & trials["gross_j"].notna()]
    layers = layers.assign(
        linear=layers["linear_layers"],
        conv=layers["conv_layers"],
        energy_j=layers["gross_j"],
        accuracy=layers["test_accuracy"],
    )
    return {
        str(dataset): LayerStudy.from_trainings(part, dense_relu=bool(part["dense_relu"].any()))
        for dataset, part in layers.groupby("dataset")
    }


def _are_crossed(trials: pd.DataFrame) -> bool:
    """Whether the layer study trained the same configurations with ReLU and without; the published design did not."""
    if trials.empty:
        return False
    layers = trials[trials["study"] == "layers"]
    without, with_relu = (set(map(tuple, layers.loc[layers["relu"] == relu, _ADAM].to_numpy())) for relu in (0, 1))
    return bool(without & with_relu)


def _mended_in(trials: pd.DataFrame) -> frozenset[str]:
    """The defects that searches of ours are free of. Strategies mend their own; protocol and space mend the others."""
    mended = {"d06 grid without upper bounds", "d07 kernel fixed, inputs unscaled"}
    tuning = trials[trials["search"].notna()] if len(trials) else trials
    if len(tuning) and (tuning["protocol"] == "corrected").all():
        mended.add("d03 chosen by test accuracy")
    if len(tuning) and tuning["space"].astype(str).str.startswith("corrected").all():
        mended.add("d08 learning rate not on a log scale")
    return frozenset(mended)


def _worth(frame: pd.DataFrame, column: str) -> EnergyKind:
    """What joules of these sources are worth; one estimate among them makes all an estimate."""
    sources = set() if frame.empty else set(frame[column].dropna()) - {"none"}
    if not sources:
        return "none"
    return "estimate" if any("estimate" in str(source) for source in sources) else "measured"
