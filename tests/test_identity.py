import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import greenai_utils
from greenai_utils.errors import InputError, UnknownFieldError
from greenai_utils.identity import from_identity, identity
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.profile import profile_names
from greenai_utils.recording.store import CorruptRecordsError, Store
from greenai_utils.training.trial import Hyperparameters, Trial
from tests.golden import GOLDEN, planned

PACKAGE = Path(greenai_utils.__file__).parent
GROWN = ("Trial", "NetworkSpec", "Hyperparameters", "Protocol", "TaskSettings", "Dimension", "Space", "Recipe", "Shape")
GOLDEN_KEYS = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", profile_names())
def test_records_are_found_by_the_keys_they_always_had(name: str) -> None:
    now = json.loads(json.dumps(planned(name)))
    assert now["settings"] == GOLDEN_KEYS[name]["settings"]
    assert now["studies"].keys() == GOLDEN_KEYS[name]["studies"].keys()
    assert now == GOLDEN_KEYS[name]


def test_a_field_added_with_a_default_changes_no_key_and_leaves_records_readable(tmp_path: Path) -> None:
    """The package is copied, every class that stands in a key grows by a field, and the copy plans all profiles."""
    for name in (PACKAGE.name, "notebooks", "tests"):
        shutil.copytree(PACKAGE.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    grown = [name for file in (tmp_path / PACKAGE.name).rglob("*.py") for name in _grow(file)]
    assert sorted(grown) == sorted(GROWN)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "tests.golden", "--print"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == GOLDEN_KEYS
    reading = f"from greenai_utils.recording.store import Store; print(len(Store({str(_shipped())!r})))"
    done = subprocess.run(
        [sys.executable, "-c", reading], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(Store(_shipped()))


def _grow(file: Path) -> list[str]:
    """Add a field with a default to the classes of a file that stand in keys."""
    text = file.read_text(encoding="utf-8")
    lines, grown = text.splitlines(), []
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.ClassDef) and node.name in GROWN and node.decorator_list:
            last = max(item.end_lineno or 0 for item in node.body if isinstance(item, ast.AnnAssign))
            lines.insert(last, "    grown: int = 7")
            grown.append(node.name)
    if grown:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return grown


def _shipped() -> Path:
    return PACKAGE.parent / "data" / "fashion" / "records"


@dataclass(frozen=True)
class Inner:
    ALWAYS: ClassVar = ("first",)
    first: int = 1
    later: int = 2


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()


def test_what_came_later_is_left_out_at_its_default_at_every_nesting() -> None:
    assert identity(Outer("a")) == {"name": "a"}
    value = Outer("a", Inner(3), (Inner(), Inner(later=5)))
    assert identity(value) == {
        "name": "a",
        "inner": {"first": 3},
        "several": [{"first": 1}, {"first": 1, "later": 5}],
    }
    assert identity([value], stated=True)[0]["several"] == [{}, {"later": 5}]
    assert from_identity(Outer, {"name": "a", "inner": {"first": 3, "later": 4}}) == Outer("a", Inner(3, 4))


@pytest.mark.parametrize("record", [{}, {"inner": {}}, [], None])
def test_a_record_that_lacks_a_field_is_refused(record: object) -> None:
    with pytest.raises(InputError, match="Outer"):
        from_identity(Outer, record)


@pytest.mark.parametrize("part", ["trial", "network", "hyperparameters", "protocol"])
def test_a_later_version_is_named_and_not_called_corrupt(tmp_path: Path, part: str) -> None:
    trial = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-3))
    Store(tmp_path).append("tuning", trial, {"package": "9.1.0", "recorded_at": "2031-02-03"})
    file = tmp_path / "tuning.jsonl"
    record = json.loads(file.read_text())
    (record["trial"] if part == "trial" else record["trial"][part])["colour"] = "red"
    file.write_text(json.dumps(record) + "\n")
    with pytest.raises(InputError, match=r"colour, written by version 9\.1\.0 on 2031-02-03") as caught:
        Store(tmp_path)
    assert not isinstance(caught.value, CorruptRecordsError)
    with pytest.raises(UnknownFieldError, match="colour"):
        Trial.from_record(record["trial"])
