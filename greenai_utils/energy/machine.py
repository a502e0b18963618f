"""The machine that records: what its numbers depend on, and nothing that tells whose it is."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from greenai_utils.energy.availability import ROOT, is_container, is_virtual
from greenai_utils.energy.zeus import gpu_models
from greenai_utils.openmp import waiting

PACKAGES = ("torch", "numpy", "zeus")
"""Packages whose version a recorded number may depend on."""


def machine_description() -> dict[str, Any]:
    """Describe this machine, ready for JSON.

    Returns:
        `cpu` (model), `logical_cores`, `physical_cores` (None where unknown), `memory_gib`, `gpus` (models),
        `gpu_driver` and `visible_gpus` (`CUDA_VISIBLE_DEVICES`) or None, `openmp` (how its threads wait), `platform`,
        `virtual_machine`, `container`, `python`, and the versions of `PACKAGES` (None where not installed; read from
        their metadata, without importing them).
    """
    gpus, driver = gpu_models()
    return {
        "cpu": cpu_model(),
        "logical_cores": psutil.cpu_count(),
        "physical_cores": psutil.cpu_count(logical=False),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "gpu_driver": driver,
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "openmp": waiting(),
        "platform": platform.platform(),
        "virtual_machine": is_virtual(),
        "container": is_container(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name, or its architecture where the system does not tell.

    Args:
        root: The root of the file system.
    """
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    cpuinfo = root / "proc/cpuinfo"
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
