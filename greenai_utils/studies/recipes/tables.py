"""Tables of greener training: what each lever takes to the target accuracy, what pays off, and what all of this took.

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

from greenai_utils.recording.store import Record
from greenai_utils.stats.checks import FloatArray
from greenai_utils.stats.intervals import Interval
from greenai_utils.studies.claims.effects import bootstrap_effect
from greenai_utils.studies.plans import LEVER_STUDY
from greenai_utils.studies.recipes.plan import planned_levers
from greenai_utils.studies.study_data import StudyData, Table, with_source

RESAMPLES = 4_000
LEVEL = 0.95
PUBLISHED_LOOP = "published"
"""What no lever is pulled in."""
JOULES_A_KWH = 3.6e6
UNKNOWN = Interval(np.nan, np.nan, np.nan)
NOT_PLANNED = "this profile leaves it out (compilations = 0), since compiling takes longer than it has"


@lru_cache(maxsize=2)
def lever_blocks(data: StudyData) -> pd.DataFrame:
    """One row a combination and block: what was measured.

    Returns:
        levers (joined by +; `published` for none), block (its seed), members, reached (how many ended at the target),
        training_j and training_s (of one member), preparation_j (0 if there was none), rate, steps,
        validation_accuracy and test_accuracy (means of the members that finished), reason (why it could not be
        measured; empty where it was).
    """
    return pd.DataFrame([_block_row(record, data.profile.levers.target) for record in data.measured(LEVER_STUDY)])


@Table
def levers_table(data: StudyData) -> pd.DataFrame:
    """What each lever takes alone, and all of them together, to the target accuracy."""
    settings, rows = data.profile.levers, []
    blocks = lever_blocks(data)
    reference = _measured(blocks, PUBLISHED_LOOP)
    for levers in planned_levers(settings):
        name, own = lever_name(levers), _measured(blocks, lever_name(levers))
        row: dict[str, object] = {
            "levers": name,
            "pulled": len(levers),
            "dataset": settings.task.dataset,
            "network": settings.task.network,
            "target": settings.target,
        }
        if len(own):
            row |= _costs(own, reference)
        else:
            reasons = blocks.loc[blocks["levers"] == name, "reason"]
            row |= {"blocks": 0, "verdict": "not measured", "reason": reasons.iloc[0] if len(reasons) else NOT_PLANNED}
        rows.append(row)
    return with_source(pd.DataFrame(rows), data)


@Table
def waterfall_table(data: StudyData) -> pd.DataFrame:
    """From the published loop to all levers of the profile together, one more at a time."""
    blocks, chain = lever_blocks(data), data.profile.levers.together
    rows, before = [], _measured(blocks, PUBLISHED_LOOP)
    first = before
    for count in range(len(chain) + 1):
        own = _measured(blocks, lever_name(chain[:count]))
        row: dict[str, object] = {"step": count, "lever": chain[count - 1] if count else PUBLISHED_LOOP}
        if len(own) and len(before):
            row |= _interval_columns("joules_to_target", _j_to_target(own), "_j")
            row |= _interval_columns("of_before", _ratio(own, before))
            row |= _interval_columns("of_published", _ratio(own, first))
            before = own
        rows.append(row)
    return with_source(pd.DataFrame(rows), data)


@Table
def break_even_table(data: StudyData) -> pd.DataFrame:
    """After how many trainings what a lever costs beforehand has paid."""
    blocks = lever_blocks(data)
    reference = _measured(blocks, PUBLISHED_LOOP)
    rows = []
    for name in blocks["levers"].unique():
        own = _measured(blocks, name)
        if not len(own) or not (own["preparation_j"] > 0).all():
            continue
        a, b = _paired(own, reference)
        if not len(a):
            continue
        pays = _interval(_blocks(a, b), _trainings) if b["reached"].any() else UNKNOWN
        if not _ratio(a, b).high < 1:
            pays = pays._replace(high=np.nan)  # perhaps it never does
        own_j, reference_j = _to_target(_blocks(a, b)[None])[0].tolist()
        rows.append(
            {
                "levers": name,
                "blocks": len(a),
                "preparation_j": a["preparation_j"].mean(),
                "network_j": _finite(own_j),
                "saved_j": _finite(reference_j - own_j),
                **_interval_columns("trainings", pays),
            }
        )
    columns = ["levers", "blocks", "preparation_j", "network_j", "saved_j", "trainings"]
    columns += ["trainings_low", "trainings_high"]
    return with_source(pd.DataFrame(rows, columns=columns), data)


@Table.apart("whose", "study")
def compendium_cost(data: StudyData) -> pd.DataFrame:
    """What the recorded studies of this profile spent, and beside it what the authors' studies spent.

    Joules of different sources or boundaries stand in rows of their own and are never added up. What flagged records
    took was spent like the rest. What was spent outside of records is not here: idle power before the study, warming
    up, the notebooks themselves.
    """
    spent = [*_trial_costs(data.all_trials), *_task_costs(data)]
    table = pd.DataFrame(spent, columns=["study", "measurements", "energy_j", "source", "boundary"])
    groups = ["study", "source", "boundary"]
    own = table.groupby(groups, sort=False)[["measurements", "energy_j"]].sum().reset_index()
    whole = own.groupby(["source", "boundary"], sort=False)[["measurements", "energy_j"]].sum().reset_index()
    parts = [own.assign(whose="profile"), whole.assign(whose="profile", study="all")]
    if data.gap is None:
        theirs = data.published.table("published_study_energy").query("dataset == 'all'")
        parts.append(theirs.rename(columns={"trainings": "measurements"}).assign(whose="authors"))
    joined = pd.concat(parts, ignore_index=True)
    joined["energy_kwh"] = joined["energy_j"] / JOULES_A_KWH
    return joined[["whose", "study", "measurements", "energy_j", "energy_kwh", "source", "boundary"]]


def lever_name(levers: Sequence[str]) -> str:
    """A combination of levers as tables name it."""
    return "+".join(levers) or PUBLISHED_LOOP


def _block_row(record: Record, target: float) -> dict[str, object]:
    task = record["task"]
    row: dict[str, object] = {"levers": lever_name(task["levers"]), "block": task["seed"]}
    if record["status"] != "ok":
        return {**row, "reason": record["reason"]}
    members, group = record["members"], record["trained"]
    finished = [one for one in members if not one["diverged"]]
    return {
        **row,
        "reason": "",
        "members": len(members),
        "reached": sum(one["validation_accuracy"] >= target for one in finished),
        "training_j": np.nan if group["gross_j"] is None else group["gross_j"] / len(members),
        "training_s": group["duration_s"] / len(members),
        "preparation_j": 0.0 if record["preparation"] is None else record["preparation"]["gross_j"],
        "rate": record["rate"],
        "steps": float(np.mean([one["steps"] for one in members])),
        **{
            name: float(np.mean([one[name] for one in finished])) if finished else np.nan
            for name in ("validation_accuracy", "test_accuracy")
        },
    }


def _measured(blocks: pd.DataFrame, name: str) -> pd.DataFrame:
    own = blocks[blocks["levers"] == name]
    if "training_j" not in own:
        return own.iloc[:0]
    return own.dropna(subset=["training_j"]).set_index("block").astype({"training_j": float, "preparation_j": float})


def _costs(own: pd.DataFrame, reference: pd.DataFrame) -> dict[str, object]:
    members, reached = own["members"].sum(), own["reached"].sum()
    low, high = proportion_confint(reached, members, alpha=1 - LEVEL, method="wilson")
    saved = UNKNOWN
    if len(reference):
        estimate, upper, lower = (1 - value for value in _ratio(own, reference))
        saved = Interval(estimate, lower, upper)
    share = reached / members
    return {
        "blocks": len(own),
        "trainings": members,
        "reached_share": share,
        "reached_low": low,
        "reached_high": high,
        "training_j": own["training_j"].mean(),
        **_interval_columns("joules_to_target", _j_to_target(own), "_j"),
        **_interval_columns("saved", saved),
        "seconds_to_target_s": own["training_s"].mean() / share if reached else np.nan,
        "preparation_j": own["preparation_j"].mean(),
        "steps": own["steps"].mean(),
        "validation_accuracy": own["validation_accuracy"].mean(),
        "test_accuracy": own["test_accuracy"].mean(),
        "verdict": _verdict(bool(reached), saved, own is reference or own.equals(reference)),
        "reason": "",
    }


def _verdict(reached: bool, saved: Interval, itself: bool) -> str:
    if itself:
        return "baseline"
    if not reached:
        return "misses the target"
    if saved.low > 0:
        return "saves"
    return "costs more" if saved.high < 0 else "undecided"


def _j_to_target(own: pd.DataFrame) -> Interval:
    return _interval(_blocks(own), lambda sample: _to_target(sample)[:, 0])


def _ratio(own: pd.DataFrame, other: pd.DataFrame) -> Interval:
    """Joules to the target as a multiple of another recipe's, over the blocks that have both.

    Of a recipe that never gets there nothing is a multiple.
    """
    a, b = _paired(own, other)
    if not b["reached"].any():
        return UNKNOWN

    def ratio(sample: FloatArray) -> FloatArray:
        expected = _to_target(sample)
        return expected[:, 0] / expected[:, 1]

    return _interval(_blocks(a, b), ratio)


def _trainings(sample: FloatArray) -> FloatArray:
    """How many trainings of the first recipe save, against the second, what it took beforehand."""
    expected = _to_target(sample)
    saved = expected[:, 1] - expected[:, 0]
    return np.where(saved > 0, sample.mean(axis=1)[:, 0, 2] / saved, np.inf)


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    both = a.index.intersection(b.index)
    return a.loc[both], b.loc[both]


def _blocks(*recipes: pd.DataFrame) -> FloatArray:
    """Joules of a training, share that reaches the target, and joules beforehand: shape (blocks, recipes, 3)."""
    columns = [(one["training_j"], one["reached"] / one["members"], one["preparation_j"]) for one in recipes]
    return np.array([[each.to_numpy(dtype=float) for each in one] for one in columns]).transpose(2, 0, 1)


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

    estimate, low, high, _ = bootstrap_effect(blocks, logarithm, resamples=RESAMPLES)
    return Interval(*(_finite(float(np.exp(value))) for value in (estimate, low, high)))


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.nan


def _interval_columns(name: str, interval: Interval, unit: str = "") -> dict[str, object]:
    return {f"{name}{unit}": interval.estimate, f"{name}_low{unit}": interval.low, f"{name}_high{unit}": interval.high}


def _trial_costs(trials: pd.DataFrame) -> list[tuple[str, int, float, str, str]]:
    """What every recorded training took, with its evaluation and the proposal of its configuration."""
    read = trials["gross_j"].fillna(trials["share_j"]).astype(float) * trials["repeats"]
    joules = read.fillna(0.0) + trials["evaluation_j"].astype(float).fillna(0.0)
    groups = trials.dropna(subset=["group_evaluation_j"]).drop_duplicates("group")  # read once for all members
    joules = joules.add(groups["group_evaluation_j"].astype(float), fill_value=0.0)
    costs = list(zip(trials["study"], [1] * len(trials), joules, trials["source"], trials["boundary"], strict=True))
    proposed = trials[trials["tuner_j"].notna()]
    costs += [("proposing", 0, float(one.tuner_j), str(one.tuner_source), "cpu") for one in proposed.itertuples()]
    return costs


def _task_costs(data: StudyData) -> list[tuple[str, int, float, str, str]]:
    """What every measurement that is no training took as a whole."""
    windows = [(record["study"], record["spent"]) for record in (*data.tasks, *data.flagged_tasks)]
    return [
        (study, 1, float(spent["gross_j"]), spent["source"], spent["boundary"])
        for study, spent in windows
        if spent["gross_j"] is not None
    ]
