"""Settings of the engine, and what it finds on a machine."""

import logging
from pathlib import Path

import pytest
import torch

from greenai_utils.errors import InputError
from greenai_utils.training import engine
from greenai_utils.training.engine import THREAD_FLOPS, check_device, check_precision, free_memory, step_threads
from greenai_utils.training.products import limit_threads


@pytest.mark.parametrize("precision", THREAD_FLOPS)
def test_small_steps_run_on_one_thread_and_none_on_more_than_there_are(precision: torch.dtype) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert step_threads(0.5 * THREAD_FLOPS[precision], precision) == 1
        assert step_threads(THREAD_FLOPS[precision], precision) == 2
        for most in (1, 9):
            with limit_threads(most):
                assert torch.get_num_threads() == min(most, 2)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "no such device", "hpu"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(InputError, match=device):
        check_device(device)


def test_a_device_that_is_there_is_returned() -> None:
    assert check_device("cpu") == check_device(torch.device("cpu")) == torch.device("cpu")


def test_imitated_bfloat16_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        check_precision("float32", torch.device("cpu"))
        assert not caplog.records
        check_precision("bfloat16", torch.device("cpu"))
    assert "no bfloat16 instructions" in caplog.text


@pytest.mark.parametrize(
    ("limit", "used", "expected"), [("1000", "400", 600), ("1000", "1400", 0), ("max", "400", None)]
)
@pytest.mark.parametrize(
    "files", [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")]
)
def test_a_container_has_what_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, str], limit: str, used: str, expected: int | None
) -> None:
    monkeypatch.setattr(engine, "CONTROL_GROUPS", tmp_path)
    for file, content in zip(files, (limit, used), strict=True):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content + "\n")
    free = free_memory(torch.device("cpu"))
    assert free == expected if expected is not None else free > 2**20
