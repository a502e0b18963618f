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
from greenai_utils.verification import VerificationError, verify


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


def changed(file: Path, content: bytes) -> None:
    before = file.read_bytes()
    assert before != content
    file.write_bytes(content)
    try:
        with pytest.raises(VerificationError) as caught:
            verify("smoke")
    finally:
        file.write_bytes(before)
    assert file.name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_what_records_give_is_verified(recorded: Path) -> None:
    assert "those that its records give" in verify("smoke")


def test_one_changed_digit_is_found(recorded: Path) -> None:
    file = paths.tables_folder("smoke") / "layer_cells.csv"
    lines = file.read_text().splitlines()
    cells = lines[1].split(",")
    number = cells.index(next(cell for cell in cells if "." in cell))
    cells[number] = f"{float(cells[number]) * (1 + 1e-8)!r}"
    changed(file, "\n".join([lines[0], ",".join(cells), *lines[2:], ""]).encode())


def test_digits_beyond_the_ninth_may_differ(recorded: Path) -> None:
    file = paths.tables_folder("smoke") / "layer_cells.csv"
    before = file.read_text()
    lines = before.splitlines()
    cells = lines[1].split(",")
    number = cells.index(next(cell for cell in cells if "." in cell))
    cells[number] = f"{float(cells[number]) * (1 + 1e-13)!r}"
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:], ""]))
    assert file.read_text() != before
    verify("smoke")
    file.write_text(before)


def test_one_changed_pixel_is_found(recorded: Path, tmp_path: Path) -> None:
    file = paths.figures_folder("smoke") / "02-interactions.png"
    pixels = np.array(image.imread(file))
    pixels[10, 10, :3] = 1 - pixels[10, 10, :3]
    image.imsave(tmp_path / "other.png", pixels)
    changed(file, (tmp_path / "other.png").read_bytes())


def test_a_missing_and_a_foreign_file_are_found(recorded: Path) -> None:
    table, figure = paths.tables_folder("smoke") / "layer_anova.csv", paths.figures_folder("smoke") / "99-own.png"
    before = table.read_bytes()
    table.unlink()
    figure.write_bytes(b"")
    with pytest.raises(VerificationError, match=r"layer_anova.csv: missing\n.*99-own.png: not made from these records"):
        verify("smoke")
    table.write_bytes(before)
    figure.unlink()


def test_a_profile_without_results_is_refused(output: Path) -> None:
    with pytest.raises(InputError, match="has tables"):
        verify("smoke")
