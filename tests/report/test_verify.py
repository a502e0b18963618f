import json
import platform
import shutil
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import SMOKE, record_all
from matplotlib import image
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.recording.session import Session
from greenai_utils.report.execute import notebook_names
from greenai_utils.report.executed import check_executed
from greenai_utils.report.reproduce import rebuild_figures
from greenai_utils.report.verify import VerificationError, check_records, compare_figures, compare_tables, verify
from greenai_utils.studies import all_series, load_profile


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        output = tmp_path_factory.mktemp("recorded")
        patch.setenv("GREENAI_OUTPUT", str(output))
        session = Session(load_profile("smoke"))
        for series in all_series():
            session.run(series)
        session.close("done")
        rebuild_figures("smoke", from_records=True)
        yield output


def scaled(table: str, factor: float) -> str:
    """A table with its first fractional number multiplied."""
    lines = table.splitlines()
    cells = lines[1].split(",")
    number = cells.index(next(cell for cell in cells if "." in cell))
    cells[number] = repr(float(cells[number]) * factor)
    return "\n".join([lines[0], ",".join(cells), *lines[2:], ""])


def test_what_records_give_is_verified_and_what_they_do_not_is_named(recorded: Path) -> None:
    assert "those that its records give" in verify("smoke")
    tables, figures = paths.tables_folder("smoke"), paths.figures_folder("smoke")
    number, lost = tables / "layer_cells.csv", tables / "layer_anova.csv"
    pixel, foreign = figures / "02-interactions.png", figures / "99-own.png"
    number.write_text(scaled(number.read_text(), 1 + 1e-8))
    lost.unlink()
    pixels = np.array(image.imread(pixel))
    pixels[10, 10, :3] = 1 - pixels[10, 10, :3]
    image.imsave(pixel, pixels)
    foreign.write_bytes(b"")
    with pytest.raises(VerificationError) as caught:
        verify("smoke")
    differences = [line.strip() for line in str(caught.value).splitlines()[1:-1]]
    assert sorted(line.split(":")[0] for line in differences) == [
        "figures/02-interactions.png",
        "figures/99-own.png",
        "tables/layer_anova.csv",
        "tables/layer_cells.csv",
    ]
    assert any("row 1, column mean_j" in line for line in differences)


def compared(there: Path, rebuilt: Path) -> bool:
    return compare_figures(there, rebuilt) is not None


def test_one_changed_pixel_and_one_changed_coordinate_are_caught(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    for kind in ("png", "svg"):
        for name in ("old", "same", "new"):
            figure.savefig(tmp_path / f"{name}.{kind}", metadata={"Date": None} if kind == "svg" else {})
    (tmp_path / "same.svg").write_bytes((tmp_path / "old.svg").read_bytes())  # its ids are drawn at random here
    pixels = np.array(image.imread(tmp_path / "old.png"))
    pixels[100, 100, 0] -= 1 / 255
    image.imsave(tmp_path / "new.png", pixels)
    before, number, after = (tmp_path / "old.svg").read_text().partition("L ")
    (tmp_path / "new.svg").write_text(f"{before}{number}1{after}")
    assert (image.imread(tmp_path / "new.png") != image.imread(tmp_path / "old.png")).any(axis=2).sum() == 1
    assert [compared(tmp_path / f"old.{kind}", tmp_path / f"same.{kind}") for kind in ("png", "svg")] == [False, False]
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        assert [compared(tmp_path / f"old.{kind}", tmp_path / f"new.{kind}") for kind in ("png", "svg")] == [True, True]


def test_elsewhere_figures_are_compared_as_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    blank = np.ones((50, 50, 3))
    for name, value in (("old", 1.0), ("smooth", 0.995), ("other", 0.2)):
        pixels = blank.copy()
        pixels[10:40, 10:40] = value
        image.imsave(tmp_path / f"{name}.png", pixels)
    assert not compared(tmp_path / "old.png", tmp_path / "smooth.png")
    assert compared(tmp_path / "old.png", tmp_path / "other.png")


def test_a_changed_record_is_caught_though_no_table_shows_what_changed(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, own = load_profile("smoke"), recorded / "data" / "smoke"
    copy = tmp_path / "data" / "smoke"
    shutil.copytree(own, copy)
    monkeypatch.setenv("GREENAI_OUTPUT", str(tmp_path))
    assert check_records(profile) == []
    file = copy / "records" / "layers.jsonl"
    first, *rest = file.read_text().splitlines()
    entry = json.loads(first)
    entry["evaluation"]["net_j"] += 1.0
    file.write_text("\n".join([json.dumps(entry), *rest, ""]))
    (copy / "records" / "ladders.jsonl").unlink()
    found = check_records(profile)
    assert found[:2] == ["records/ladders.jsonl: missing", "records/layers.jsonl: changed"]
    assert f"evaluation of {entry['key']}: net_j follows from the domains" in found[2]
    changed = replace(profile, recorded=True, layers=replace(profile.layers, configurations=5))
    assert "layers.configurations: 2 there, 5 here" in check_records(changed)[-1]


def test_readings_of_groups_and_of_tasks_add_up_too(output: Path) -> None:
    folder = paths.records_folder("smoke")
    record_all(folder)
    assert check_records(SMOKE) == []
    for study, name in (("tuning", "group"), ("levers", "trained"), ("attribution", "whole")):
        lines = [json.loads(line) for line in (folder / f"{study}.jsonl").read_text().splitlines()]
        entry = next(line for line in lines if line.get(name))
        part = entry["group"]["training"] if name == "group" else entry[name]
        part["gross_j"] += 1.0
        (folder / f"{study}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        label = "group training" if name == "group" else name
        assert f"records/{study}.jsonl: {label} of {entry['key']}: gross_j follows" in "\n".join(check_records(SMOKE))


# --- executed notebooks


PIXEL = b"a picture"


def execute_by_hand(output: Path, picture: bytes = PIXEL, profile: str = "smoke") -> None:
    """Notebooks as executed, each showing one picture, without the time that execution takes."""
    (paths.figures_folder("smoke")).mkdir(parents=True)
    (paths.figures_folder("smoke") / "00-a.png").write_bytes(PIXEL)
    for file in paths.NOTEBOOKS.glob("0*.ipynb"):
        notebook = json.loads(file.read_text())
        for cell in notebook["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                cell["source"] = 'profile = "smoke"'
        shown = {"output_type": "display_data", "data": {"image/png": b64encode(picture).decode()}, "metadata": {}}
        next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["outputs"] = [shown]
        notebook["metadata"]["greenai"] = {"profile": profile}
        write_text(paths.executed_folder("smoke") / file.name, json.dumps(notebook))


def test_executed_notebooks_that_show_the_figures_agree(output: Path) -> None:
    assert check_executed("smoke") == []  # none executed, as after `make figures`
    execute_by_hand(output)
    assert check_executed("smoke") == []


def test_executed_notebooks_of_another_profile_or_with_other_pictures_are_named(output: Path) -> None:
    execute_by_hand(output, b"another picture", "quick")
    found = check_executed("smoke")
    assert sum("executed for profile 'quick'" in line for line in found) == len(notebook_names())
    assert sum("1 of its pictures are none of the figures" in line for line in found) == len(notebook_names())


def test_a_missing_a_foreign_and_a_changed_notebook_are_named(output: Path) -> None:
    execute_by_hand(output)
    first, second, *_ = sorted(paths.executed_folder("smoke").glob("*.ipynb"))
    first.rename(first.with_name("99-own.ipynb"))
    second.write_text(second.read_text().replace("study.describe()", "study.describe() # changed"))
    assert check_executed("smoke") == [
        f"report/{first.name}: missing",
        "report/99-own.ipynb: no notebook of that name",
        f"report/{second.name}: executed from other cells than the notebook has now",
    ]


def test_tables_agree_in_every_digit_written(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("name,joules\na,1234.57\nb,\n")
    assert compare_tables(tmp_path / "old.csv", tmp_path / "old.csv") is None
    (tmp_path / "new.csv").write_text("name,joules\na,1234.58\nb,\n")
    assert compare_tables(tmp_path / "old.csv", tmp_path / "new.csv") == (
        "row 1, column joules: '1234.57', rebuilt '1234.58'"
    )


@pytest.mark.parametrize(
    "other",
    ["name,watts\na,1.5\nb,\n", "name,joules\na,1.5\n", "name,joules\nc,1.5\nb,\n", "name,joules\na,1.5\nb,0\n"],
)
def test_other_columns_rows_texts_and_filled_gaps_differ(tmp_path: Path, other: str) -> None:
    (tmp_path / "old.csv").write_text("name,joules\na,1.5\nb,\n")
    (tmp_path / "new.csv").write_text(other)
    assert compare_tables(tmp_path / "old.csv", tmp_path / "new.csv")


def test_a_profile_without_results_is_refused(output: Path) -> None:
    with pytest.raises(InputError, match="has tables"):
        verify("smoke")
