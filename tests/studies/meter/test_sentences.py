"""Sentences about the meter: every number in them is worked out from the records."""

import numpy as np
import pytest
from scipy import stats

from greenai_utils.studies.data import StudyData
from greenai_utils.studies.meter.sentences import flagged, repeatability
from greenai_utils.studies.meter.tables import meter_flags, meter_repeatability
from greenai_utils.studies.sentences import source_of_joules


def test_repeatability_is_that_of_three_trainings(data: StudyData) -> None:
    table = meter_repeatability(data)
    energy = table.set_index("quantity").loc["gross_j"]
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert energy[["n", "mean", "sd", "cv_pct", "counter_uncertainty"]].to_list() == [3, 2.0, 1.0, 50.0, 0.01]
    assert energy[["ci_low", "ci_high"]].to_list() == pytest.approx([2 - half, 2 + half], rel=1e-5)
    said = repeatability(table)
    assert "3 trainings of one configuration took 2 J on average (95 % interval -0.484 to 4.48 J)" in said
    assert "coefficient of variation of 50.0 %" in said
    assert "about 141 %" in said  # 2 sqrt(2) 50 %


def test_an_estimate_is_called_one(data: StudyData) -> None:
    assert "are an estimate" in source_of_joules(data.all_trials, 12.0)
    counted = data.all_trials.assign(source="nvml", boundary="gpu", idle_w=70.0)
    said = source_of_joules(counted, 12.0)
    assert "read from a counter" in said
    assert "`nvml`" in said
    assert "Idle power was 70.0 W" in said
    assert "estimate" not in said


def test_what_is_left_out_is_counted(data: StudyData) -> None:
    flags = meter_flags(data)
    assert flags["trials"].to_list() == [len(data.trials)]
    assert f"all {len(data.trials)} trials remain" in flagged(flags)
    spoiled = flags.assign(flag="shared", trials=2, measurements=1)
    assert "`shared`: 2 trials, 1 others" in flagged(spoiled)
