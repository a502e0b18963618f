import pytest

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import load_profile
from greenai_utils.recording.store import Store
from greenai_utils.studies import runs
from greenai_utils.studies.plans import STUDIES
from greenai_utils.studies.runs import TrainingError, count_missing, record_missing

SMOKE = load_profile("smoke")


def test_nothing_recorded_is_everything_missing(output: object) -> None:
    store = Store(runs.paths.records_folder("smoke"))
    for study in STUDIES:
        missing, needed = count_missing(SMOKE, study, store)
        assert missing == needed > 0


def test_a_study_is_recorded_in_a_process_of_its_own(output: object) -> None:
    assert record_missing(SMOKE, ["meter"]) == "3 of 3 trainings done now, 0 found recorded"
    assert record_missing(SMOKE, ["meter"]) == "0 of 3 trainings done now, 3 found recorded"


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(InputError, match="'metre'"):
        count_missing(SMOKE, "metre", Store(runs.paths.records_folder("smoke")))


@pytest.mark.parametrize(("status", "said"), [(-9, "killed by SIGKILL"), (2, "ended with status 2")])
def test_a_failed_process_says_how_it_ended(status: int, said: str) -> None:
    assert said in str(TrainingError("smoke", status))
    assert TrainingError("smoke", status).explained == (status > 0)
