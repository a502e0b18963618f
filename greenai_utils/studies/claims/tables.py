"""The verdicts on every claim, from all evidence at hand: the authors' data, this profile, and profiles that ship."""

from collections.abc import Iterator, Mapping

import pandas as pd

from greenai_utils import paths
from greenai_utils.errors import Gap
from greenai_utils.recording.profile import load_profile, profile_names
from greenai_utils.studies.claims.claims import CLAIMS, DEFECTS, conclude
from greenai_utils.studies.claims.evidence import Evidence, judge, published_evidence, record_evidence
from greenai_utils.studies.fronts.tables import trained_alone
from greenai_utils.studies.meter.tables import AUTHORS, COUNTER, METHODS, compared_windows
from greenai_utils.studies.published.tables import BOUNDARY, SOURCE
from greenai_utils.studies.study_data import StudyData, Table
from greenai_utils.studies.tuning.tables import main_cell, tuning_summary

_JOULES = [METHODS[AUTHORS], METHODS[COUNTER]]
"""Joules of a window as the authors read them, and as a counter does."""
SHIPPED = paths.ROOT / "data"
"""Where recorded profiles ship."""


@Table.apart("claim")
def claims_table(data: StudyData) -> pd.DataFrame:
    """Every claim and defect judged on every body of evidence, one row a number that decides; see `claims`.

    Evidence of a profile that ships with the repository is named `recorded` and the profile. Where the authors' data
    cannot be had, their claims are not testable here.
    """
    parts = []
    for evidence, name, source, boundary in _evidence(data):
        judged = judge(evidence)
        parts.append(judged.assign(evidence=name, source=source, boundary=boundary))
    return pd.concat(parts, ignore_index=True)


@Table
def verdicts_table(data: StudyData) -> pd.DataFrame:
    """One verdict for each claim and body of evidence, with the rule that decides it."""
    table = claims_table.exact(data)
    verdicts = conclude(table)
    known = {**CLAIMS, **DEFECTS}
    rules = {name: {"test": claim.test, "reason": claim.reason} for name, claim in known.items()}
    verdicts = verdicts.join(pd.DataFrame.from_dict(rules, orient="index"), on="claim")
    origin = table.drop_duplicates("evidence").set_index("evidence")[["source", "boundary"]]
    return verdicts.join(origin, on="evidence")


def recorded_profiles(own: str) -> list[str]:
    """The profiles whose records ship with the repository, but the one named."""
    names = [name for name in profile_names() if name != own and any((SHIPPED / name / "records").glob("*.jsonl"))]
    return [name for name in names if load_profile(name).recorded]


def _evidence(data: StudyData) -> Iterator[tuple[Evidence, str, str, str]]:
    """Each body of evidence, its name, and source and boundary of its joules."""
    gap = data.gap
    yield Evidence.nothing("published") if gap else _of_authors(data), "published", SOURCE, BOUNDARY
    yield record_evidence(_tables(data)), "records", data.source, data.boundary
    for name in recorded_profiles(data.profile.name):
        shipped = StudyData.read(load_profile(name), SHIPPED / name / "records")
        try:
            evidence = record_evidence(_tables(shipped), "recorded")
        except Gap:  # a study of it is still to be recorded
            evidence = Evidence.nothing("recorded")
        yield evidence, f"recorded {name}", shipped.source, shipped.boundary


def _of_authors(data: StudyData) -> Evidence:
    return published_evidence(data.published.tuning, data.published.layers)


def _tables(data: StudyData) -> Mapping[str, pd.DataFrame]:
    """What claims are judged on: what the profile plans, and of the tuning study the main cell alone, where strategies
    compare by nothing else. Records that an earlier plan left in the folder take no part.
    """
    searched = main_cell(data, data.tuning)
    planned = {*searched["key"], *data.layers["key"], *data.protocols["key"], *trained_alone(data)["key"]}
    return {
        "trials": data.trials[data.trials["key"].isin(planned)],
        "searches": _to_each_target(data, searched),
        "ladders": data.ladders,
        "meter_comparison": _meters(data),
    }


def _to_each_target(data: StudyData, trials: pd.DataFrame) -> pd.DataFrame:
    """The summary of each search of the main cell, once for every target of the profile."""
    summary = main_cell(data, tuning_summary.exact(data)).drop(columns="energy_to_target_j")
    parts = []
    for target in data.profile.tuning.targets:
        reached = trials[trials["best_so_far"] >= target * trials["best_so_far"].max()]
        joules = reached.groupby(["strategy", "search_seed"])["cumulative_j"].first().rename("energy_to_target_j")
        joules.index.names = ["strategy", "seed"]
        parts.append(summary.join(joules, on=["strategy", "seed"]).assign(target=target))
    return pd.concat(parts, ignore_index=True)


def _meters(data: StudyData) -> pd.DataFrame:
    """The windows that were measured by several meters at once; none where a machine cannot."""
    windows = compared_windows(data)
    rows = [{"load": record["task"]["load"], **{name: record[name] for name in _JOULES}} for record in windows]
    return pd.DataFrame(rows, columns=["load", *_JOULES])
