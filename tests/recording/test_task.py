from pathlib import Path

import pytest

from greenai_utils.errors import InputError
from greenai_utils.recording.store import CorruptRecordsError, Store
from greenai_utils.recording.task import Task

TASK = Task("attribution", {"network": {"kind": "simple_cnn"}, "seconds": 5.0})


def test_the_key_is_of_everything_that_defines_it_in_any_order() -> None:
    assert TASK.key == Task("attribution", {"seconds": 5.0, "network": {"kind": "simple_cnn"}}).key
    others = [Task("levers", TASK.defining), Task("attribution", {**TASK.defining, "seconds": 5.1})]
    assert len({TASK.key, *(other.key for other in others)}) == 3


@pytest.mark.parametrize("defining", [{}, {"watts": float("nan")}, {"where": object()}])
def test_what_json_cannot_hold_defines_nothing(defining: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a task is defined by"):
        Task("attribution", defining)


def test_tasks_and_their_observations_are_read_back(tmp_path: Path) -> None:
    assert Store(tmp_path).append("attribution", TASK, {"rows": [1, 2]})
    store = Store(tmp_path)
    assert store[TASK.key]["rows"] == [1, 2]
    assert Task.from_record("attribution", store[TASK.key]["task"]) == TASK
    assert not store.append("attribution", TASK, {"rows": []})


def test_a_task_whose_definition_was_edited_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).append("attribution", TASK, {})
    file = tmp_path / "attribution.jsonl"
    file.write_text(file.read_text().replace("5.0", "6.0"))
    with pytest.raises(CorruptRecordsError, match="line 1"):
        Store(tmp_path)
