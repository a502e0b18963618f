"""Tables of greener training: what each recipe takes to the target accuracy, what pays off, and what all of this took.

The estimand is the joules spent until a network of the target accuracy has been trained: a training that ends below the
target has cost its joules too, and another is begun from another seed. With independent trainings of mean cost c, of
which a share p ends at the target or above, that is c / p. Nothing is dropped: a training that misses the target adds
to c and not to p. Where none reaches it, there is no such number.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from greenai_utils.energy.meter import JOULES_PER_KWH
from greenai_utils.recording.store import Record
from greenai_utils.stats.checks import FloatArray
from greenai_utils.stats.intervals import LEVEL, Interval, bootstrap_effect
from greenai_utils.studies.data import StudyData, Table, spent, with_source
from greenai_utils.studies.recipes.plan import PUBLISHED_LOOP, combinations

RESAMPLES = 4_000
PAYING = ["levers", "blocks", "preparation_j", "network_j", "saved_j", "trainings", "trainings_low", "trainings_high"]
UNKNOWN = Interval(np.nan, np.nan, np.nan)
NOT_PLANNED = "this profile leaves it out (compilations = 0), since compiling takes longer than it has"


@lru_cache(maxsize=2)
def recipe_blocks(data: StudyData) -> pd.DataFrame:
    """One row a recipe and block: what was measured.

    Returns:
        levers (the changes, joined by +; `published` for none), block (its seed), members, reached (how many ended at
        the target), training_j and training_s (of one member), preparation_j (0 if there was none), steps,
        validation_accuracy and test_accuracy (means of the members that finished), reason (why it could not be
        measured; empty where it was).
    """
    return pd.DataFrame([_block_row(record, data.profile.levers.target) for record in data.measured("levers")])


@Table
def recipe_costs(data: StudyData) -> pd.DataFrame:
    """What each change takes by itself, and several together, to the target accuracy."""
    settings, blocks = data.profile.levers, recipe_blocks(data)
    rows = []
    for changes in combinations(settings):
        name = recipe_name(changes)
        row: dict[str, object] = {"levers": name, "pulled": len(changes), "dataset": settings.task.dataset}
        row |= {"network": settings.task.network, "target": settings.target}
        own = _measured(blocks, name)
        if len(own):
            row |= _costs(own, _measured(blocks, PUBLISHED_LOOP), name)
        else:
            reasons = blocks.loc[blocks["levers"] == name, "reason"]
            row |= {"blocks": 0, "verdict": "not measured", "reason": reasons.iloc[0] if len(reasons) else NOT_PLANNED}
        rows.append(row)
    return with_source(pd.DataFrame(rows), data)


@Table
def stepwise_costs(data: StudyData) -> pd.DataFrame:
    """From the published loop to all changes that the profile combines, one more at a time."""
    blocks, chain = recipe_blocks(data), data.profile.levers.together
    first = before = _measured(blocks, PUBLISHED_LOOP)
    rows = []
    for count, change in enumerate((PUBLISHED_LOOP, *chain)):
        own = _measured(blocks, recipe_name(chain[:count]))
        rows.append(
            {"step": count, "lever": change}
            | _interval_columns("joules_to_target", _j_to_target(own), "_j")
            | _interval_columns("of_before", _ratio(own, before))
            | _interval_columns("of_published", _ratio(own, first))
        )
        before = own
    return with_source(pd.DataFrame(rows), data)


@Table
def break_even(data: StudyData) -> pd.DataFrame:
    """After how many trainings what a recipe costs beforehand has paid."""
    blocks = recipe_blocks(data)
    reference = _measured(blocks, PUBLISHED_LOOP)
    rows = []
    for name in blocks["levers"].unique():
        a, b = _paired(_measured(blocks, name), reference)
        if not len(a) or not (a["preparation_j"] > 0).all():
            continue
        pays = _interval(_blocks(a, b), _trainings) if b["reached"].any() else UNKNOWN
        if not _ratio(a, b).high < 1:
            pays = pays._replace(high=np.nan)  # perhaps it never does
        own_j, reference_j = _to_target(_blocks(a, b)[None])[0].tolist()
        known = [name, len(a), a["preparation_j"].mean(), own_j, reference_j - own_j, *pays]
        rows.append(dict(zip(PAYING, known, strict=True)))
    return with_source(pd.DataFrame(rows, columns=PAYING).replace([np.inf, -np.inf], np.nan), data)


@Table.apart("whose", "study")
def compendium_cost(data: StudyData) -> pd.DataFrame:
    """What the recorded studies of this profile spent, and beside it what the authors' studies spent.

    Joules of different sources or boundaries stand in rows of their own and are never added up. What flagged records
    took was spent like the rest. What was spent outside of records is not here: idle power before the study, warming
    up, the notebooks themselves.
    """
    own = spent(data.all_trials, [*data.tasks, *data.flagged_tasks])
    whole = own.groupby(["source", "boundary"], sort=False)[["measurements", "energy_j"]].sum().reset_index()
    tables = [own.assign(whose="profile"), whole.assign(whose="profile", study="all")]
    if data.gap is None:
        theirs = data.published.study_energy.query("dataset == 'all'")
        tables.append(theirs.rename(columns={"trainings": "measurements"}).assign(whose="authors"))
    joined = pd.concat(tables, ignore_index=True)
    joined["energy_kwh"] = joined["energy_j"] / JOULES_PER_KWH
    return joined[["whose", "study", "measurements", "energy_j", "energy_kwh", "source", "boundary"]]


def recipe_name(changes: Sequence[str]) -> str:
    """A recipe as tables name it, by its changes."""
    return "+".join(changes) or PUBLISHED_LOOP


def _block_row(record: Record, target: float) -> dict[str, object]:
    row: dict[str, object] = {"levers": recipe_name(record["task"]["levers"]), "block": record["task"]["seed"]}
    if record["status"] != "ok":
        return row | {"reason": record["reason"]}
    members, trained, prepared = record["members"], record["trained"], record["preparation"]
    finished = pd.DataFrame([one for one in members if not one["diverged"]], columns=list(members[0]))
    return row | {
        "reason": "",
        "members": len(members),
        "reached": (finished["validation_accuracy"] >= target).sum(),
        "training_j": np.nan if trained["gross_j"] is None else trained["gross_j"] / len(members),
        "training_s": trained["duration_s"] / len(members),
        "preparation_j": 0.0 if prepared is None else prepared["gross_j"],
        "steps": np.mean([one["steps"] for one in members]),
        "validation_accuracy": finished["validation_accuracy"].mean(),
        "test_accuracy": finished["test_accuracy"].mean(),
    }


def _measured(blocks: pd.DataFrame, name: str) -> pd.DataFrame:
    own = blocks[blocks["levers"] == name].dropna(subset=["training_j"])
    return own.set_index("block").astype({"training_j": float, "preparation_j": float})


def _costs(own: pd.DataFrame, reference: pd.DataFrame, name: str) -> dict[str, object]:
    members, reached = own["members"].sum(), own["reached"].sum()
    low, high = proportion_confint(reached, members, alpha=1 - LEVEL, method="wilson")
    estimate, upper, lower = (1 - value for value in _ratio(own, reference))
    if name == PUBLISHED_LOOP:
        verdict = "baseline"
    elif not reached:
        verdict = "misses the target"
    else:
        verdict = "saves" if lower > 0 else "costs more" if upper < 0 else "undecided"
    return {
        "blocks": len(own),
        "trainings": members,
        "reached_share": reached / members,
        "reached_low": low,
        "reached_high": high,
        "training_j": own["training_j"].mean(),
        **_interval_columns("joules_to_target", _j_to_target(own), "_j"),
        **_interval_columns("saved", Interval(estimate, lower, upper)),
        "seconds_to_target_s": own["training_s"].mean() / (reached / members) if reached else np.nan,
        "preparation_j": own["preparation_j"].mean(),
        **{name: own[name].mean() for name in ("steps", "validation_accuracy", "test_accuracy")},
        "verdict": verdict,
        "reason": "",
    }


def _j_to_target(own: pd.DataFrame) -> Interval:
    return _interval(_blocks(own), lambda sample: _to_target(sample)[:, 0])


def _ratio(own: pd.DataFrame, other: pd.DataFrame) -> Interval:
    """Joules to the target as a multiple of another recipe's, over the blocks that have both.

    Of a recipe that never gets there nothing is a multiple.
    """
    a, b = _paired(own, other)
    return _interval(_blocks(a, b), lambda s: np.divide(*_to_target(s).T)) if b["reached"].any() else UNKNOWN


def _trainings(sample: FloatArray) -> FloatArray:
    """How many trainings of the first recipe save, against the second, what it took beforehand."""
    own, other = _to_target(sample).T
    return np.where(other > own, sample.mean(axis=1)[:, 0, 2] / (other - own), np.inf)


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    both = a.index.intersection(b.index)
    return a.loc[both], b.loc[both]


def _blocks(*recipes: pd.DataFrame) -> FloatArray:
    """Joules of a training, share that reaches the target, and joules beforehand: shape (blocks, recipes, 3)."""
    columns = [(one["training_j"], one["reached"] / one["members"], one["preparation_j"]) for one in recipes]
    return np.array(columns, dtype=float).transpose(2, 0, 1)


def _to_target(sample: FloatArray) -> FloatArray:
    """Mean joules of a training over the share that reaches the target, by samples of blocks: (samples, recipes)."""
    means = sample.mean(axis=1)
    with np.errstate(divide="ignore"):
        expected: FloatArray = means[..., 0] / means[..., 1]
    return expected


def _interval(blocks: FloatArray, statistic: Callable[[FloatArray], FloatArray]) -> Interval:
    """A positive statistic of blocks and its interval (see `bootstrap_effect`), which is found for its logarithm, so
    that no end is negative; an end that is infinite is unknown (NaN).
    """

    def logarithm(sample: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(statistic(sample))
        return np.where(np.isnan(values), np.inf, values)

    values = np.exp(bootstrap_effect(blocks, logarithm, resamples=RESAMPLES)[:3])
    return Interval(*np.where(np.isfinite(values), values, np.nan).tolist())


def _interval_columns(name: str, interval: Interval, unit: str = "") -> dict[str, object]:
    return {f"{name}{unit}": interval.estimate, f"{name}_low{unit}": interval.low, f"{name}_high{unit}": interval.high}
