"""One folder a chapter: what it plans, measures, tabulates, draws and says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenai_utils.recording.profile import Profile, profile_class, read_profile
from greenai_utils.recording.study import Series, Study
from greenai_utils.studies import claims, fronts, layers, meter, published, recipes, tuning
from greenai_utils.validation import check_name

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        meter.STUDY,
        tuning.STUDY,
        layers.STUDY,
        fronts.STUDY,
        published.STUDY,
        recipes.STUDY,
        claims.STUDY,
    )
}
"""Every study by its name, in the order of the notebooks. Another is one more line, or one more entry from outside."""


def all_series() -> list[Series]:
    """Everything that studies record, in the order of the notebooks."""
    return [series for study in STUDIES.values() for series in study.series]


def find_series(name: str) -> Series:
    """What is recorded under a name.

    Raises:
        InputError: Nothing is.
    """
    known = {series.name: series for series in all_series()}
    check_name("what a profile records", name, known)
    return known[name]


def load_profile(name: str | Path, settings: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile, with the settings of every study; see `read_profile`."""
    sections = {section: kind for study in STUDIES.values() for section, kind in study.settings.items()}
    return read_profile(name, profile_class(sections), settings)
