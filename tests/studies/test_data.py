"""Records as one table, and what may not be pooled in it."""

from pathlib import Path

import pandas as pd
import pytest
from handmade import SMOKE, record_all

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.networks import datasets
from greenai_utils.networks.sources import SOURCES
from greenai_utils.recording.store import Store
from greenai_utils.studies.data import StudyData, trials_table


def test_every_record_has_a_row(data: StudyData) -> None:
    trials = data.all_trials
    assert len(trials) == 3 + 14 + 54 + 50 + 16 + 16 + 12
    assert len(Store(paths.records_folder("smoke"))) == len(trials) + len(data.tasks)
    assert trials["key"].is_unique
    meter = trials[trials["study"] == "meter"]
    assert meter["gross_j"].to_list() == [1.0, 2.0, 3.0]
    assert set(meter["evaluation_j"]) == {0.359}
    assert meter["search"].isna().all()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("machine", {"machine": "b" * 12}),
        ("source", {"training": {"source": "nvml", "boundary": "cpu"}}),
        ("boundary", {"training": {"source": "estimate", "boundary": "gpu"}}),
    ],
)
def test_records_of_two_machines_or_sources_are_refused(tmp_path: Path, column: str, change: dict) -> None:
    store = record_all(tmp_path)
    records = list(store)
    for name, value in change.items():
        records[7][name] = {**records[7][name], **value} if isinstance(value, dict) else value
    with pytest.raises(InputError, match=f"share one {column}"):
        trials_table(records)


def test_records_elsewhere_are_read_where_they_lie(data: StudyData, tmp_path: Path) -> None:
    record_all(tmp_path)
    pd.testing.assert_frame_equal(StudyData.read(SMOKE, tmp_path).trials, data.trials)


def test_a_profile_without_records_says_what_to_run(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make reproduce PROFILE=smoke"):
        StudyData.read(SMOKE, tmp_path)


def test_the_sizes_of_the_splits_are_those_of_the_data() -> None:
    digits = datasets.load("digits")
    splits = (digits.train, digits.validation, digits.test)
    assert tuple(len(split.labels) for split in splits) == SOURCES["digits"].images
