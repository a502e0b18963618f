"""The verdicts on every claim, from all evidence at hand: the authors' data, this profile, and profiles that ship."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

import pandas as pd

from greenai_utils import paths
from greenai_utils.claim_effects import LayerStudy
from greenai_utils.claim_evidence import Evidence, judge, published_evidence, record_evidence
from greenai_utils.claims import CLAIMS, DEFECTS, conclude
from greenai_utils.errors import Gap
from greenai_utils.published_data import BOUNDARY, SOURCE
from greenai_utils.settings import load_profile, profile_names
from greenai_utils.study_data import StudyData
from greenai_utils.tuning_tables import main_cell, tuning_summary

NO_SEARCHES, NO_LAYERS = pd.DataFrame(), dict[str, LayerStudy]()
SHIPPED = paths.ROOT / "data"
"""Where recorded profiles ship."""


@lru_cache(maxsize=2)
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


@lru_cache(maxsize=2)
def verdicts_table(data: StudyData) -> pd.DataFrame:
    """One verdict for each claim and body of evidence, with the rule that decides it."""
    table = claims_table(data)
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
    yield _nothing("published") if gap else _of_authors(data), "published", SOURCE, BOUNDARY
    yield record_evidence(_tables(data)), "records", data.source, data.boundary
    for name in recorded_profiles(data.profile.name):
        shipped = StudyData.read(load_profile(name), SHIPPED / name / "records")
        try:
            evidence = record_evidence(_tables(shipped), "recorded")
        except Gap:  # a study of it is still to be recorded
            evidence = _nothing("recorded")
        yield evidence, f"recorded {name}", shipped.source, shipped.boundary


def _of_authors(data: StudyData) -> Evidence:
    return published_evidence(data.published.tuning, data.published.layers)


def _nothing(kind: str) -> Evidence:
    """Evidence that holds nothing: every claim is not testable on it."""
    return Evidence(
        kind=kind,
        searches=NO_SEARCHES,
        trials=NO_SEARCHES,
        layers=NO_LAYERS,
        crossed=False,
        switched=NO_SEARCHES,
        mended=frozenset(),
        energy="none",
        tuner_energy="none",
    )


def _tables(data: StudyData) -> Mapping[str, pd.DataFrame]:
    """What claims are judged on: of the tuning study the main cell, where strategies compare by nothing else.

    Joules of a search that were not all read over its trainings decide nothing.
    """
    other_cells = set(data.tuning["key"]) - set(main_cell(data, data.tuning)["key"])
    summary = main_cell(data, tuning_summary(data))
    return {
        "trials": data.trials[~data.trials["key"].isin(other_cells)],
        "tuning_summary": summary.assign(total_j=summary["total_j"].where(summary["unread_j"] == 0)),
    }
