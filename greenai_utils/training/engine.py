"""How a training is carried out on a device: settings that change its time and energy, and its results by rounding."""

import logging
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from greenai_utils.errors import InputError
from greenai_utils.training.trial import Precision
from greenai_utils.validation import check_switch, shown

log = logging.getLogger(__name__)

THREAD_FLOPS = {torch.float32: 1e8, torch.bfloat16: 2e8}
"""A step of fewer floating-point operations runs on one thread: waking another costs more than it takes over. Products
in bfloat16 are over sooner, so that more of them are needed to pay."""


MEMORY_SHARE = 0.5
"""Of the memory free on the device, how much a population may take: the rest is for other processes and for what the
estimate of its size leaves out."""


@dataclass(frozen=True)
class Engine:
    """How trainings are carried out; the trial says what is trained.

    Raises:
        InputError: A switch is neither true nor false.
    """

    stacked: bool = True
    """Forward and backward passes written out by hand (`stacked.StackedNetwork`) instead of torch's modules: 1.1 to 2.2
    times as fast for single networks. Only for networks it supports, on a CPU or CUDA; others run as modules."""
    compile: bool = False
    """Compile modules (`torch.compile`). Takes 4 to 30 s for every network and batch size, and a C++ compiler, after
    which a CPU is no faster: 0.7 times the speed of modules on digits, 0.9 to 1.05 times on Fashion-MNIST."""
    cuda_graphs: bool = False
    """Record a stacked step on a GPU once and replay it, which saves launching its kernels one by one."""

    def __post_init__(self) -> None:
        for name in ("stacked", "compile", "cuda_graphs"):
            check_switch(name, getattr(self, name))


DEFAULT_ENGINE = Engine()

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may take."""


def step_threads(step_flops: float, precision: torch.dtype) -> int:
    """The CPU threads that a step of so many operations in a type deserves."""
    enough = THREAD_FLOPS.get(precision, THREAD_FLOPS[torch.float32])
    return 1 if step_flops < enough else torch.get_num_threads()


def check_device(device: str | torch.device) -> torch.device:
    """The device of a name.

    Raises:
        InputError: There is no such device here.
    """
    if not isinstance(device, str | torch.device):
        raise InputError("a device is named", shown(device), "name one, such as 'cpu' or 'cuda:0'")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError) as error:
        counted = torch.cuda.device_count() if torch.cuda.is_available() else 0
        present = ["cpu", *(f"cuda:{index}" for index in range(counted))]
        if torch.backends.mps.is_available():
            present.append("mps")
        raise InputError(
            f"a device of this machine is {' or '.join(present)}",
            f"{str(device)!r} ({str(error).splitlines()[0]})",
            "name one of these",
        ) from error
    if found.type == "meta":
        raise InputError("a device computes", "'meta', which does not", "name a CPU or a GPU")
    return found


def check_precision(precision: Precision, device: torch.device) -> None:
    """Make sure that a device computes at a precision; say so where it is only imitated.

    Raises:
        InputError: A GPU without bfloat16.
    """
    if precision != "bfloat16":
        return
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            "a GPU computes in bfloat16 from compute capability 8.0 on",
            torch.cuda.get_device_name(device),
            "train at float32, or on another device",
        )
    if device.type == "cpu" and not (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        log.warning("This CPU has no bfloat16 instructions: the results are right, but slower than in float32.")


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on a device; on the CPU, within what a container may take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        file = CONTROL_GROUPS / limit
        allowed = file.read_text().strip() if file.exists() else "max"
        if allowed != "max":
            free = min(free, int(allowed) - int((CONTROL_GROUPS / used).read_text()))
    return max(0, free)
