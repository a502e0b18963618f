"""The environment: what pins it, what makes it, and what it says when it cannot be made."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from greenai_utils.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PIN = re.compile(r"^(?P<pin>(?P<name>[a-z0-9.-]+)==\S+(?: ; [^\\]+)?) \\\n(?P<hashes>(?: +--hash=.*\n)+)", re.MULTILINE)
DIRECT = [
    Requirement(text)
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in group
]


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make as a person would, not as a part of the make that may be running these tests."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "TORCH_BACKEND"))
    }
    return subprocess.run(
        ["make", *words], cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture
def whole(clone: Path) -> Path:
    """A clone whose environment make takes for whole, with nothing in it but the interpreter."""
    venv.create(clone / ".venv", symlinks=True)
    (clone / ".venv" / ".installed").write_text(f"{clone}\n\n")
    return clone


def test_every_line_of_the_lock_is_a_pin_with_sha256_hashes() -> None:
    rest = PIN.sub("", LOCK)
    assert [line for line in rest.splitlines() if not line.lstrip().startswith("#")] == []
    for match in PIN.finditer(LOCK):
        for line in match["hashes"].splitlines():
            assert re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_environment_and_lock_agree() -> None:
    *pinned, editable = ENVIRONMENT["dependencies"][-1]["pip"]
    assert pinned == [match["pin"].strip() for match in PIN.finditer(LOCK)]
    assert editable == "--editable ."


def test_environment_takes_the_supported_pythons() -> None:
    (python,) = [entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python ")]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_direct_dependency_is_pinned_as_it_asks(requirement: Requirement) -> None:
    versions = [
        Requirement(match["pin"]).specifier
        for match in PIN.finditer(LOCK)
        if match["name"] == canonicalize_name(requirement.name)
    ]
    assert versions
    for pinned in versions:
        (version,) = pinned
        assert requirement.specifier.contains(version.version)


@pytest.mark.parametrize("name", ["requirements.lock", "environment.yml", "Makefile", ".ci/run", "pyproject.toml"])
def test_no_index_host_or_absolute_path(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text.replace("--no-emit-index-url", "")
    allowed = {"/dev/null", "/dev/stdin", "/usr/bin/env"}
    assert set(re.findall(r"(?<![\w.$)}'*^/|!])/[a-z][\w.-]*/[\w./-]+", text)) <= allowed


def test_make_alone_lists_every_target(clone: Path) -> None:
    listed = make(clone)
    assert listed.returncode == 0
    assert listed.stderr == ""
    (phony,) = re.findall(r"^\.PHONY: ((?:[a-z]+ ?)+)$", MAKEFILE, re.MULTILINE)
    described = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines()[1:])
    assert sorted(described) == sorted(phony.split())
    assert not (clone / ".venv").exists()


def test_a_whole_environment_is_left_alone(whole: Path) -> None:
    assert make(whole, "--question", "setup").returncode == 0


def test_an_interrupted_setup_is_made_anew(whole: Path) -> None:
    (whole / ".venv" / ".installed").unlink()
    assert make(whole, "--question", "setup").returncode == 1
    assert "-m venv --clear .venv" in make(whole, "--dry-run", "setup").stdout


def test_a_moved_environment_is_made_anew(whole: Path) -> None:
    moved = whole.rename(whole.with_name("moved"))
    assert "-m venv --clear .venv" in make(moved, "--dry-run", "setup").stdout


def test_an_environment_without_its_interpreter_is_made_anew(whole: Path) -> None:
    (whole / ".venv" / "bin" / "python").unlink()
    assert "-m venv --clear .venv" in make(whole, "--dry-run", "setup").stdout


def test_a_newer_lock_is_installed_into_the_environment_at_hand(whole: Path) -> None:
    later = (whole / ".venv" / ".installed").stat().st_mtime + 2
    os.utime(whole / "requirements.lock", (later, later))
    commands = make(whole, "--dry-run", "setup").stdout
    assert "pip sync" in commands
    assert "--require-hashes requirements.lock" in commands
    assert "venv --clear" not in commands


def test_torch_backend_is_passed_on_and_kept(whole: Path) -> None:
    commands = make(whole, "--dry-run", "setup", TORCH_BACKEND="cpu").stdout
    assert "--torch-backend cpu" in commands
    assert "venv --clear" in commands
    (whole / ".venv" / ".installed").write_text(f"{whole}\ncpu\n")
    assert make(whole, "--question", "setup").returncode == 0
    assert make(whole, "--question", "setup", TORCH_BACKEND="cu128").returncode == 1


def test_torch_backend_replaces_torch_and_its_libraries_alone(whole: Path) -> None:
    commands = make(whole, "--dry-run", "setup", TORCH_BACKEND="cpu").stdout
    (kept,) = re.findall(r"awk '(.*)' requirements.lock", commands)
    by_hash = subprocess.run(
        ["awk", kept, whole / "requirements.lock"], capture_output=True, text=True, check=True
    ).stdout
    left_out = {match["name"] for match in PIN.finditer(LOCK)} - {match["name"] for match in PIN.finditer(by_hash)}
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-bindings"} <= left_out
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in left_out)
    assert "nvidia-ml-py" not in left_out  # Zeus reads the counters through it
    (pins,) = re.findall(r"--torch-backend cpu (\$\(.*\))", commands)
    found = subprocess.run(["sh", "-c", f"echo {pins}"], cwd=whole, capture_output=True, text=True, check=True).stdout
    assert [pin.partition("==")[0] for pin in found.split()] == ["torch", "torchvision"]


def python_that_says(version: tuple[int, int, int], folder: Path) -> Path:
    """An interpreter that takes itself for another version."""
    script = folder / "other-python"
    code = f"import sys; sys.version_info = {version}; exec(sys.argv[2])"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_another_python_ends_in_one_message(version: tuple[int, int, int], clone: Path, tmp_path: Path) -> None:
    python = python_that_says(version, tmp_path)
    ended = make(clone, "setup", f"PYTHON={python}")
    message, by_make = ended.stderr.splitlines()
    assert ended.returncode != 0
    assert by_make.startswith("make: ***")
    assert "needs Python 3.11, 3.12 or 3.13" in message
    assert f"got {'.'.join(map(str, version))} ({sys.executable})" in message
    assert "make setup PYTHON=" in message
    assert not (clone / ".venv").exists()


def test_no_python_at_all_ends_in_one_message(clone: Path) -> None:
    ended = make(clone, "setup", "PYTHON=no-such-python")
    message, _ = ended.stderr.splitlines()
    assert "got no command 'no-such-python'" in message
    assert not (clone / ".venv").exists()


def test_the_pythons_that_make_takes_are_the_projects() -> None:
    ((low, high),) = re.findall(r"\(3, (\d+)\) <= tuple\(v\[:2\]\) <= \(3, (\d+)\)", MAKEFILE)
    supported = [minor for minor in range(8, 30) if SpecifierSet(PROJECT["requires-python"]).contains(f"3.{minor}.5")]
    assert supported == list(range(int(low), int(high) + 1))
    assert MAKEFILE.count("Python 3.11, 3.12 or 3.13") == 2
    assert supported == [11, 12, 13]


def test_clean_spares_downloads_shipped_records_and_the_environment(tmp_path: Path) -> None:
    for name in ("Makefile", ".gitignore", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    spared = [
        "data/README.md",
        "data/raw/x.npz",
        "data/fashion/records/a.jsonl",
        "data/h200/machine.json",
        "data/bench/a.csv",
    ]
    spared += ["figures/h200/01-a.png", "report/conf.py", "report/fashion/00-a.ipynb", ".venv/a", ".idea/a"]
    made = [
        "data/quick/records/a.jsonl",
        "figures/quick/01-a.png",
        "report/quick/00-a.ipynb",
        "report/_build/h200/a.html",
    ]
    made += [".pytest_cache/a", "greenai_utils/__pycache__/a.pyc"]
    for name in spared + made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("benchmarks", "notebooks", "tests"):
        (tmp_path / name).mkdir()
    cleaned = make(tmp_path, "clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert [name for name in spared if not (tmp_path / name).exists()] == []
    assert [name for name in made if (tmp_path / name).exists()] == []
