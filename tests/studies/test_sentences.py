"""Sentences and what notebooks call: every number in a sentence is worked out from the records."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from handmade import SMOKE, record_all
from IPython.display import Image, Markdown

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.report.notebook import Chapter
from greenai_utils.studies.claims import sentences as findings_claims
from greenai_utils.studies.fronts import sentences as findings_front
from greenai_utils.studies.layers import sentences as findings_layers
from greenai_utils.studies.meter import sentences as findings
from greenai_utils.studies.published import sentences as findings_published
from greenai_utils.studies.published.files import SHA256
from greenai_utils.studies.recipes import sentences as findings_levers
from greenai_utils.studies.study_data import StudyData
from greenai_utils.studies.tuning import sentences as findings_tuning

AUTHORS_FILES = Path(os.environ.get("GREENAI_DATA", paths.ROOT / "data/raw")) / "published"
needs_authors_files = pytest.mark.skipif(
    not all((AUTHORS_FILES / name).exists() for name in SHA256), reason="the published files are not here"
)
LAYER_SENTENCES = (
    *(findings_layers.ablation, findings_layers.overstatement, findings_layers.attribution, findings_layers.closure),
    *(findings_layers.drivers, findings_layers.model, findings_layers.prediction),
)
ON_RECORDS = (
    *(findings.energy_kind, findings.repeatability, *LAYER_SENTENCES, findings_front.front, findings_front.marginal),
    *(findings_front.attainment, findings_front.networks, findings_front.ladders, findings_claims.rules),
    *(findings_claims.evidence, findings_claims.count, findings_claims.claims, findings_claims.defects),
    *(findings_levers.design, findings_levers.levers, findings_levers.together, findings_levers.break_even),
    findings_levers.compendium,
)


def test_what_members_are_charged_is_said(data: StudyData) -> None:
    assert findings_tuning.joules_of_searches(data).endswith("none is imputed.")
    tuning = replace(SMOKE.tuning, space="corrected5", others=())
    other = StudyData(replace(SMOKE, tuning=tuning), data.trials)
    trials = data.tuning[data.tuning["space"] == "corrected5"]
    other.__dict__["tuning"] = trials
    other.__dict__["alone"] = data.alone
    said = findings_tuning.joules_of_searches(other)
    assert "50 of 50 trainings ran many at once" in said
    assert "100 % of the joules" in said
    assert "2 random configurations, each trained alone, took 2.1 J on average" in said
    assert "took 0.5 J of its group's joules: 4.2 times less" in said


@pytest.mark.parametrize("sentences", ON_RECORDS)
def test_sentences_are_whole(data: StudyData, sentences: object) -> None:
    said = sentences(data)
    assert said.strip()
    assert not re.search(r"\bnan\b|\bNone\b|[{}]|inf\b", said), said


def test_an_estimate_is_called_one(data: StudyData) -> None:
    assert "are an estimate" in findings.energy_kind(data)
    counted = StudyData(SMOKE, data.trials.assign(source="nvml", boundary="gpu", idle_w=70.0))
    said = findings.energy_kind(counted)
    assert "read from a counter" in said
    assert "`nvml`" in said
    assert "Idle power was 70.0 W" in said
    assert "estimate" not in said


def test_repeatability_says_what_three_trainings_scatter_by(data: StudyData) -> None:
    said = findings.repeatability(data)
    assert "3 trainings of one configuration took 2 J on average (95 % interval -0.484 to 4.48 J)" in said
    assert "coefficient of variation of 50.0 %" in said
    assert "about 141 %" in said  # 2 sqrt(2) 50 %


def test_layers_names_the_dearest_factor(data: StudyData) -> None:
    said = findings_layers.ablation(data)
    assert said.startswith(
        "**digits**: `conv` explains most of the variance of net energy: η² = 0.924. Effects with p < 0.05: "
    )
    # 19.75 against 11.75 J on average
    assert "- `conv` 4 against 1: 1.68 times the gross energy" in said


def test_the_front_says_how_sure_its_knee_is(data: StudyData) -> None:
    ladders = next(line for line in findings_front.front(data).splitlines() if "**ladders**" in line)
    assert "3 of 12 trials are on the front. Its knee buys 0.7100 for 2 J" in ladders
    assert "0.8100, took 2.00 times as much" in ladders
    assert re.search(r"In 7[3-7] % of the bootstrap samples the knee is that very trial, in 2[3-7] % another", ladders)
    assert "Hypervolume against accuracy 0.469 and 16.4 J: 4.751 J" in ladders
    tuning = next(line for line in findings_front.front(data).splitlines() if "**tuning**" in line)
    assert "It has no knee" in tuning


def test_the_next_point_is_held_against_the_noise(data: StudyData) -> None:
    said = findings_front.marginal(data)
    assert "**ladder of epochs**: up to rung 2 a percentage point cost 0.05 J, up to rung 4, the last that" in said
    assert "**ladder of size**: up to rung 1 a percentage point cost 0.25 J, up to rung 1, the last that" in said
    # repeated trainings differ by 141 %, which no step along the ladders' front exceeds
    assert "- **ladders**: its front has 2 steps, 2 of them shorter" in said


def test_half_of_the_searches(data: StudyData) -> None:
    said = findings_front.attainment(data)
    assert "- **tpe**: half of the 3 searches reached 0.8500 for no more than 7.5 J a search." in said
    assert "- **ladders**: half of the 2 repetitions reached 0.8100 for no more than 4 J a training." in said


def test_networks_on_the_fronts(data: StudyData) -> None:
    said = findings_front.networks(data)
    assert "of 3 networks: training front `0 conv, 1 linear`, `1 conv, 1 linear`;" in said


@pytest.mark.parametrize(
    ("delta", "gain", "said"),
    [
        (12.0, 0.1, "decisively better"),
        (5.0, 0.1, "not decisively"),
        (1.0, 0.1, "undecided"),
        (-1.9, 0.1, "undecided"),
        (-5.0, 0.1, "The straight line is better"),
        (50.0, 0.0, "bought nothing"),
    ],
)
def test_ladders_are_judged_by_the_stated_rule(delta: float, gain: float, said: str) -> None:
    assert said in findings_front._verdict(delta, gain)


def test_ladders_say_what_the_last_rung_cost(data: StudyData) -> None:
    said = findings_front.ladders(data)
    assert "- **epochs**: from rung 1 to rung 4 a training took 4.0 times the energy" in said
    assert "accuracy went from 0.505 to 0.805" in said
    assert "- **size**: from rung 0 to rung 2 a training took 3.0 times the energy" in said


def test_claims_show_the_numbers_behind_each_verdict(data: StudyData) -> None:
    said = findings_claims.claims(data)
    assert "- **5a halving energy.** Reducing the network halves the energy of a training." in said
    assert "  - records: **undecided** (0 of 1 numbers support it; effect 0.518, to lie below 0.5)" in said
    assert "  - published: not testable here" in said
    assert "14 not testable here" in findings_claims.count(data)
    assert "a gap. " in findings_claims.evidence(data)
    assert "Connect to the network" in findings_claims.evidence(data)


def test_every_defect_has_a_line(data: StudyData) -> None:
    said = findings_claims.defects(data)
    assert re.findall(r"^- \*\*d(\d\d)", said, re.MULTILINE) == [f"{number:02d}" for number in range(1, 13)]


# --- what a notebook calls


@pytest.fixture(scope="module")
def chapter(data: StudyData) -> Chapter:
    return Chapter({"In": ["", "# Parameters\nprofile = 'smoke'\n"], "profile": "smoke"})


def test_a_chapter_shows_tables_figures_and_sentences(chapter: Chapter) -> None:
    assert isinstance(chapter.table("ladder_rungs"), pd.DataFrame)
    assert isinstance(chapter.figure("03-ladders"), Image)
    assert isinstance(chapter.say(findings_front.ladders), Markdown)
    assert (paths.tables_folder("smoke") / "ladder_rungs.csv").exists()
    assert (paths.figures_folder("smoke") / "03-ladders.svg").exists()
    assert "`smoke`" in chapter.describe().data


def test_a_chapter_finds_everything_recorded(chapter: Chapter) -> None:
    assert (
        chapter.record("meter", "layers", "ladders", "protocols").data
        == "*0 of 47 trainings done now, 47 found recorded.*"
    )


def test_settings_are_shown_by_name(chapter: Chapter) -> None:
    settings = chapter.settings("ladders")["value"]
    assert settings["epochs"] == "1, 2, 4"
    assert settings["conv_layers"] == "0, 1, 2"
    assert settings["dataset"] == "digits"


def test_a_chapter_states_a_gap_and_says_once_what_to_do(chapter: Chapter) -> None:
    shown = [
        chapter.table("published_kruskal"),
        chapter.figure("04-waste"),
        chapter.say(findings_published.waste),
    ]
    assert all(isinstance(each, Markdown) for each in shown)
    first, second, third = (each.data for each in shown)
    assert first.startswith("> **Gap: the authors' data are missing**, and with them table `published_kruskal`. ")
    assert "Connect to the network, or put the file of commit 92ce0cb at " in first
    assert second == "> **Gap: the authors' data are missing**, and with them figure `04-waste`."
    assert third == "> **Gap: the authors' data are missing**, and with them what would be said here."


def test_an_unknown_parameter_is_an_error() -> None:
    with pytest.raises(InputError, match="parameters are profile; got seed"):
        Chapter({"In": ["", "# Parameters\nseed = 1\n"], "profile": "smoke", "seed": 1})


# --- the authors' data


@needs_authors_files
def test_sentences_about_the_authors_data(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_all(tmp_path)
    monkeypatch.setenv("GREENAI_DATA", str(AUTHORS_FILES.parent))
    own = StudyData.read(SMOKE, tmp_path)
    assert "2,304 trials of 36 searches and 6,144 trainings" in findings_published.coverage(own)
    reproduced = findings_published.reproduction(own)
    assert len(reproduced.splitlines()) == 6
    for agreeing, shown in re.findall(r"(\d+) of (\d+) numbers agree", reproduced):
        assert agreeing == shown
    assert "24,576 networks and took 11.5 kWh" in findings_published.total(own)
    assert "best accuracy: first in how many of 12 cells: bayesian 9, grid 2, random 1" in (
        findings_published.energy_to_target(own)
    )
    for sentences in (findings_published.waste, findings_published.fronts, findings_published.replicates):
        assert not re.search(r"\bnan\b|\bNone\b", sentences(own))
    assert "6,144 trainings; their joules were sampled" in findings_claims.evidence(own)
    assert "of 14 claims 6 supported" in findings_claims.count(own)
