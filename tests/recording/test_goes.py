"""The goes of a recording: what code and profile they had, and what a reader is told of that."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.recording import goes
from greenai_utils.recording.goes import (
    GoLog,
    changed_records,
    commit_of,
    describe_code,
    describe_go,
    read_goes,
    records_sha256,
    remarks,
    require_same_profile,
)
from greenai_utils.recording.profile import profile_names, settings_sha256, stated_settings
from greenai_utils.report.doctor import doctor
from greenai_utils.report.reproduce import rebuild_figures, reproduce
from greenai_utils.report.verify import verify
from greenai_utils.studies import load_profile

SMOKE = load_profile("smoke")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A `machine.json` with one whole go."""
    file = tmp_path / "machine.json"
    write_text(file, json.dumps({"id": "a" * 12, "cpu": "a processor"}))
    add(file)
    return file


def add(file: Path, **changes: Any) -> None:
    code = {**describe_code(SMOKE), "commit": {"sha": "c" * 40, "dirty": False}, "code_sha256": "1" * 20}
    log = GoLog(file)
    log.begin({**code, "torch": "2.11.0", "gpus_before": [{"power_limit_w": 700.0}]})
    log.complete(**{"ended": "2026-01-01T00:10:00+00:00", "reason": "the time limit", **changes})


def told(file: Path, profile: Any = SMOKE) -> str:
    return "; ".join(remarks(json.loads(file.read_text()), profile))


def test_a_go_is_appended_and_the_machine_stays(log: Path) -> None:
    add(log, idle_w_before=70.0)
    content = json.loads(log.read_text())
    assert content["cpu"] == "a processor"
    assert [go.get("idle_w_before") for go in read_goes(log)] == [None, 70.0]
    assert told(log) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code_sha256": "2" * 20, "commit": {"sha": "d" * 40, "dirty": False}}, "commits cccccccccc, dddddddddd"),
        ({"commit": {"sha": "c" * 40, "dirty": True}}, "go 2 ran on a commit with changes of its own"),
        ({"ended": None}, "go 2, begun 20"),
        ({"gpu_driver": "600.1"}, "the GPU driver changed between goes: None, 600.1"),
        ({"gpus_before": [{"power_limit_w": 500.0}]}, "the power limit changed between goes: 700.0 W, 500.0 W"),
        ({"code_sha256": "2" * 20, "commit": None}, "commits cccccccccc, unknown"),
    ],
)
def test_what_is_unusual_about_a_go_is_told(log: Path, changes: dict[str, Any], said: str) -> None:
    add(log, **changes)
    assert said in told(log)


def test_a_changed_profile_is_told_and_refused_setting_by_setting(log: Path) -> None:
    changed = replace(SMOKE, tuning=replace(SMOKE.tuning, trials=7, population=5))
    words = "tuning.population: 4 there, 5 here; tuning.trials: 6 there, 7 here"
    assert words in told(log, changed)
    with pytest.raises(InputError, match=re.escape(words)):
        require_same_profile(changed, log)
    require_same_profile(SMOKE, log)


def test_machines_described_before_goes_were_kept_are_no_error(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    write_text(file, "{}")
    assert read_goes(file) == []
    require_same_profile(SMOKE, file)
    assert "names no goes" in told(file)


def test_words_and_weights_of_a_profile_change_no_hash_but_every_measured_setting_does(tmp_path: Path) -> None:
    same = replace(SMOKE, description="other words", recorded=True, carbon=replace(SMOKE.carbon, grams_per_kwh=1.0))
    assert settings_sha256(same) == settings_sha256(SMOKE)
    others = [
        replace(SMOKE, threads=2),
        replace(SMOKE, meter=replace(SMOKE.meter, watts_per_core=9.0)),
        replace(SMOKE, layers=replace(SMOKE.layers, conv_layers=(1, 3))),
    ]
    assert len({settings_sha256(profile) for profile in [SMOKE, *others]}) == 4
    file = tmp_path / "smoke.yaml"  # writing a default out changes nothing
    file.write_text(paths.profile_file("smoke").read_text() + "threads: 1\n")
    assert stated_settings(load_profile(str(file))) == stated_settings(SMOKE)


def test_changed_missing_and_foreign_records_are_named(log: Path) -> None:
    for place in ("records/a.jsonl", "records/b.jsonl", "records/c.jsonl"):
        write_text(log.parent / place, place)
    GoLog(log).complete(records_sha256=records_sha256(log.parent))
    machine = json.loads(log.read_text())
    assert changed_records(machine, log.parent) == []
    (log.parent / "records/a.jsonl").write_text("changed")
    (log.parent / "records/b.jsonl").unlink()
    (log.parent / "records/d.jsonl").write_text("foreign")
    assert changed_records(machine, log.parent) == [
        "records/a.jsonl: changed",
        "records/b.jsonl: missing",
        "records/d.jsonl: not recorded in any go",
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_says_whether_the_package_changed_since(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    assert commit_of(tmp_path) is None  # no repository
    git("init", "-q")
    assert commit_of(tmp_path) is None  # no commit
    write_text(tmp_path / "greenai_utils/a.py", "")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = commit_of(tmp_path)
    assert clean is not None
    assert re.fullmatch(r"[0-9a-f]{40}", clean["sha"])
    assert not clean["dirty"]
    write_text(tmp_path / "data/own.csv", "results are no change of the code")
    assert commit_of(tmp_path) == clean
    write_text(tmp_path / "greenai_utils/b.py", "")
    assert commit_of(tmp_path) == {**clean, "dirty": True}


def test_the_code_is_told_apart_by_every_file_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goes, "PACKAGE", tmp_path)
    (tmp_path / "room" / "deeper").mkdir(parents=True)
    seen = [goes.code_sha256()]
    for place in ("energy.py", "room/energy.py", "room/deeper/energy.py"):
        (tmp_path / place).write_text("JOULES = 1\n")
        seen.append(goes.code_sha256())
    (tmp_path / "room" / "deeper" / "energy.py").write_text("JOULES = 2\n")
    seen.append(goes.code_sha256())
    (tmp_path / "room" / "deeper" / "energy.py").rename(tmp_path / "room" / "meter.py")
    seen.append(goes.code_sha256())
    assert len(set(seen)) == len(seen)
    (tmp_path / "room" / "notes.txt").write_text("no code")
    assert goes.code_sha256() == seen[-1]


def test_doctor_tells_how_a_profile_was_recorded(output: Path) -> None:
    assert "there are none" in doctor(name="smoke")
    assert "greenai_utils record --profile h200" in " ".join(doctor(name="h200").split())
    file = paths.machine_file("smoke")
    write_text(file, json.dumps({"id": "a", "cpu": "a processor", "gpus": ["a GPU"], "source": "nvml"}))
    add(file, idle_w_before=70.25, idle_w_after=71.0, periods_s={"gpu": 0.02}, period="measured")
    add(file, ended=None)
    said = " ".join(doctor(name="smoke").split())
    assert "on a processor, GPUs: a GPU; nvml" in said
    assert "idle power before and after 70.2 W and 71.0 W; counter updated every gpu 0.02 s (measured)" in said
    assert "go 2, begun" in said
    assert "has no end" in said
    assert "unknown why" not in describe_go(1, read_goes(file)[0])


# --- what ships


@pytest.mark.parametrize("command", [reproduce, rebuild_figures, verify])
def test_a_profile_that_is_not_recorded_yet_says_how_to_record_it(output: Path, command: Any) -> None:
    with pytest.raises(InputError, match=r"has not been recorded yet.*greenai_utils record --profile h200"):
        command("h200")
    assert not list(output.iterdir())


def test_git_keeps_the_results_of_recorded_profiles_and_of_no_others() -> None:
    kept = re.findall(r"^!/(data|figures|report)/(\w+)/$", (paths.ROOT / ".gitignore").read_text(), re.MULTILINE)
    recorded = {name for name in profile_names() if load_profile(name).recorded}
    for folder in ("data", "figures", "report"):
        assert {name for place, name in kept if place == folder} - {"bench"} == recorded
