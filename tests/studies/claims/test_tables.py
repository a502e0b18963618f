"""The verdicts on records made by hand, as tables, figures and sentences."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from handmade import SMOKE
from matplotlib.patches import Rectangle

from greenai_utils.report.outputs import from_csv, make_table
from greenai_utils.studies.claims.claims import CLAIMS, DEFECTS
from greenai_utils.studies.claims.figures import claims_by_evidence, defects_by_evidence, evidence_note
from greenai_utils.studies.claims.sentences import count, evidence, numbers_behind, rules
from greenai_utils.studies.claims.tables import claims_table, recorded_profiles
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.meter.plan import plan_meter_comparison


@pytest.fixture(scope="module")
def numbers(data: StudyData) -> pd.DataFrame:
    return from_csv(make_table(data, "claims"))


@pytest.fixture(scope="module")
def verdicts(data: StudyData) -> pd.DataFrame:
    return from_csv(make_table(data, "claim_verdicts"))


def test_verdicts_follow_from_the_records(numbers: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    own = verdicts[verdicts["evidence"] == "records"].set_index("claim")["verdict"]
    # three more convolutions take 8 J, four more linear layers 2 J: 2.67 against 0.5 J a layer
    assert own["3a convolution over linear"] == "supported (estimate)"
    assert own["5a halving energy"] == "undecided"  # 10.75 of 20.75 J, by two configurations
    assert own["5b halving accuracy"] == "not supported"  # 20 points lost
    assert own["d02 beta2 never applied"] == "not supported"  # 10 points
    effects = numbers[numbers["evidence"] == "records"].set_index("claim")["effect"]
    assert effects["3a convolution over linear"] == pytest.approx((8 / 3) / (2 / 4), rel=1e-5)
    assert effects["5a halving energy"] == pytest.approx(10.75 / 20.75, rel=1e-5)
    assert effects["1a bayesian peak accuracy"].to_list() == pytest.approx([15.0, 10.0])


def test_evidence_is_the_profiles_own_the_authors_and_what_ships(numbers: pd.DataFrame) -> None:
    shipped = recorded_profiles("smoke")
    assert {"fashion", "h100"} <= set(shipped)
    assert "fashion" not in recorded_profiles("fashion")
    assert list(numbers["evidence"].unique()) == ["published", "records", *(f"recorded {name}" for name in shipped)]
    missing = numbers.loc[numbers["evidence"] == "published", "verdict"]  # the authors' data are not here
    assert set(missing) == {"not testable here"}


def test_windows_measured_by_several_meters_are_judged(data: StudyData) -> None:
    tasks = plan_meter_comparison(SMOKE)
    windows = [{"key": task.key, "study": task.study, "task": task.as_record()} for task in tasks]
    read = [{**window, "authors_j": 90.0, "counter_j": 100.0} for window in windows[:-3]]
    other = {**windows[0], "key": "of an earlier plan", "authors_j": 1.0, "counter_j": 100.0}
    gaps = [{**window, "gap": "no GPU"} for window in windows[-3:]]
    rows = claims_table(replace(data, tasks=[*read, other, *gaps]))
    rows = rows[(rows["evidence"] == "records") & rows["claim"].str.startswith("d12")]
    assert rows["estimand"].str.rsplit(": ").str[-1].to_list() == ["pulsed load", "steady load"]
    assert rows["effect"].to_list() == pytest.approx([-10, -10])
    assert set(rows["verdict"]) == {"not supported"}


def test_every_verdict_is_written_out(verdicts: pd.DataFrame) -> None:
    columns = 2 + len(recorded_profiles("smoke"))
    for figure, claims in ((claims_by_evidence(verdicts), CLAIMS), (defects_by_evidence(verdicts), DEFECTS)):
        cells = figure.axes[0].findobj(lambda each: isinstance(each, Rectangle) and each.get_width() == 1)
        written = [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]
        expected = verdicts.set_index("claim").loc[list(claims), "verdict"]
        assert sorted(written) == sorted(expected)
        assert len(cells) >= columns * len(claims)
    [axes] = claims_by_evidence(verdicts, ["records", "recorded h100"]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["this profile", "profile h100"]


def test_every_body_of_evidence_says_what_its_joules_are(verdicts: pd.DataFrame) -> None:
    note = evidence_note("Own line.", verdicts).splitlines()
    assert note[0].startswith("Authors' data: energy read by Yarally et al. (2023) through nvidia-smi")
    assert note[1] == "This profile: Own line."
    assert "Profile fashion: energy ESTIMATED, not read from a counter; boundary: cpu." in note
    assert "Profile h100: energy read from a counter (nvml); boundary: gpu." in note
    said = evidence(verdicts)
    assert "- **authors' data**: not at hand, so that nothing can be tested on it." in said
    assert "- **profile h100**: joules are read from a counter (`nvml`), over the boundary `gpu`;" in said


def test_sentences_show_the_numbers_behind_each_verdict(numbers: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    said = numbers_behind(numbers, verdicts)
    assert "- **5a halving energy.** Reducing the network halves the energy of a training." in said
    assert "  - this profile: **undecided** (0 of 1 numbers support it; effect 0.518, to lie below 0.5)" in said
    assert "  - authors' data: not testable here" in said
    assert "- authors' data: of 14 claims 14 not testable here" in count(verdicts)
    mended = numbers_behind(numbers, verdicts, DEFECTS)
    assert re.findall(r"^- \*\*d(\d\d)", mended, re.MULTILINE) == [f"{number:02d}" for number in range(1, 13)]
    assert len(rules().splitlines()) == 2 + len(CLAIMS)
