import pytest

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.recording.store import Store
from greenai_utils.studies import all_series, load_profile
from greenai_utils.studies.missing import TrainingError, record_missing

SMOKE = load_profile("smoke")


def test_nothing_recorded_is_everything_missing(output: object) -> None:
    store = Store(paths.records_folder("smoke"))
    for series in all_series():
        missing, needed = series.count(SMOKE, store)
        assert missing == needed > 0


def test_a_study_is_recorded_in_a_process_of_its_own(output: object) -> None:
    assert record_missing(SMOKE, ["meter"]) == "3 of 3 trainings done now, 0 found recorded"
    assert record_missing(SMOKE, ["meter"]) == "0 of 3 trainings done now, 3 found recorded"


def test_an_unknown_series_is_refused() -> None:
    with pytest.raises(InputError, match="'metre'"):
        record_missing(SMOKE, ["metre"])


@pytest.mark.parametrize(("status", "said"), [(-9, "killed by SIGKILL"), (2, "ended with status 2")])
def test_a_failed_process_says_how_it_ended(status: int, said: str) -> None:
    assert said in str(TrainingError("smoke", status))
    assert TrainingError("smoke", status).explained == (status > 0)
