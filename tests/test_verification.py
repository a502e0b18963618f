from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.pipeline import rebuild_figures
from greenai_utils.settings import load_profile
from greenai_utils.studies import STUDIES, Session
from greenai_utils.verification import VerificationError, compare_tables, verify


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        output = tmp_path_factory.mktemp("recorded")
        patch.setenv("GREENAI_OUTPUT", str(output))
        session = Session(load_profile("smoke"))
        for study in STUDIES:
            session.run(study)
        rebuild_figures("smoke")
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


@pytest.mark.parametrize(("factor", "differs"), [(1 + 1e-8, True), (1 - 2e-9, True), (1 + 1e-12, False)])
def test_tables_agree_to_nine_significant_digits(tmp_path: Path, factor: float, differs: bool) -> None:
    table = "name,joules\na,1234.56789012\nb,\n"
    (tmp_path / "old.csv").write_text(table)
    (tmp_path / "new.csv").write_text(scaled(table, factor))
    assert (tmp_path / "old.csv").read_text() != (tmp_path / "new.csv").read_text()
    assert (compare_tables(tmp_path / "old.csv", tmp_path / "new.csv") is not None) == differs


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
