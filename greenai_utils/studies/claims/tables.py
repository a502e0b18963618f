"""The verdicts on every claim, from all evidence at hand: the authors' data, this profile, and profiles that ship."""

from collections.abc import Iterator

import pandas as pd

from greenai_utils import paths
from greenai_utils.errors import Gap
from greenai_utils.recording.profile import profile_names
from greenai_utils.stats.survival import energies_to_target
from greenai_utils.studies import load_profile
from greenai_utils.studies.claims.claims import OWN, PUBLISHED, RECORDED, RULES, conclude
from greenai_utils.studies.claims.evidence import Evidence, judge, published_evidence, record_evidence
from greenai_utils.studies.data import StudyData, Table, main_cell
from greenai_utils.studies.fronts.tables import trained_alone
from greenai_utils.studies.meter.tables import AUTHORS, COUNTER, METHODS, compared_windows
from greenai_utils.studies.published.tables import BOUNDARY, SOURCE
from greenai_utils.studies.tuning.tables import tuning_summary


@Table.apart("claim")
def claims_table(data: StudyData) -> pd.DataFrame:
    """Every claim and defect judged on every body of evidence, one row a number that decides; see `evidence.judge`.

    Where the authors' data cannot be had, their claims are not testable here.
    """
    parts = [
        judge(evidence, name).assign(source=source, boundary=boundary)
        for evidence, name, source, boundary in _evidence(data)
    ]
    return pd.concat(parts, ignore_index=True)


@Table
def verdicts_table(data: StudyData) -> pd.DataFrame:
    """One verdict for each claim and body of evidence, with the rule that decides it."""
    table = claims_table.exact(data)
    verdicts = conclude(table)
    rules = {name: {"test": claim.test, "reason": claim.reason} for name, claim in RULES.items()}
    verdicts = verdicts.join(pd.DataFrame.from_dict(rules, orient="index"), on="claim")
    origin = table.drop_duplicates("evidence").set_index("evidence")[["source", "boundary"]]
    return verdicts.join(origin, on="evidence")


def recorded_profiles(own: str) -> list[str]:
    """The profiles whose records ship with the repository, but the one named."""
    shipped = {folder.parent.name for folder in paths.shipped_records() if any(folder.glob("*.jsonl"))}
    names = [name for name in profile_names() if name != own and name in shipped]
    return [name for name in names if load_profile(name).recorded]


def _evidence(data: StudyData) -> Iterator[tuple[Evidence, str, str, str]]:
    """Each body of evidence, its name, and source and boundary of its joules."""
    of_authors = Evidence() if data.gap else published_evidence(data.published.tuning, data.published.layers)
    yield of_authors, PUBLISHED, SOURCE, BOUNDARY
    yield _of_records(data), OWN, data.source, data.boundary
    for name in recorded_profiles(data.profile.name):
        shipped = StudyData.read(load_profile(name), paths.ROOT / "data" / name / "records")
        try:
            evidence = _of_records(shipped)
        except Gap:  # a study of it is still to be recorded
            evidence = Evidence()
        yield evidence, f"{RECORDED} {name}", shipped.source, shipped.boundary


def _of_records(data: StudyData) -> Evidence:
    """What the profile plans, and of the tuning study the main cell alone, where strategies compare by nothing else.
    Records that an earlier plan left in the folder take no part.
    """
    searched = main_cell(data, data.tuning)
    planned = {*searched["key"], *data.layers["key"], *data.protocols["key"], *trained_alone(data)["key"]}
    windows = [{**record, "load": record["task"]["load"]} for record in compared_windows(data)]
    return record_evidence(
        data.trials[data.trials["key"].isin(planned)],
        _to_each_target(data, searched),
        data.ladders,
        pd.DataFrame(windows, columns=["load", METHODS[AUTHORS], METHODS[COUNTER]]),
    )


def _to_each_target(data: StudyData, trials: pd.DataFrame) -> pd.DataFrame:
    """The summary of each search of the main cell, once for every target of the profile."""
    summary = main_cell(data, tuning_summary.exact(data)).drop(columns="energy_to_target_j")
    parts = []
    for target in data.profile.tuning.targets:
        best = trials["best_so_far"].max()
        spent = energies_to_target(trials, ["strategy", "search_seed"], target * best)
        spent = spent.rename(columns={"search_seed": "seed"})
        spent["energy_to_target_j"] = spent["energy_j"].where(spent["reached"])
        joules = spent.set_index(["strategy", "seed"])["energy_to_target_j"]
        parts.append(summary.join(joules, on=["strategy", "seed"]).assign(target=target))
    return pd.concat(parts, ignore_index=True)
