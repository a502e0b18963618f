"""Executing notebooks: tiny real ones, with real kernels."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.report import execute as notebooks
from greenai_utils.report.execute import NotebookError, execute, notebook_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of notebooks; what they make goes to a folder beside it, and so does the code they depend on."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path / "package")
    notebooks.PACKAGE.mkdir()
    monkeypatch.setenv("GREENAI_OUTPUT", str(tmp_path / "output"))
    paths.NOTEBOOKS.mkdir()
    return paths.NOTEBOOKS


def write(name: str, *cells: str, tagged: bool = True) -> Path:
    parameters = new_code_cell('profile = "quick"', metadata={"tags": ["parameters"] if tagged else []})
    file = paths.NOTEBOOKS / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A title"), parameters, *map(new_code_cell, cells)]), file)
    return file


def executed(profile: str, name: str) -> nbformat.NotebookNode:
    return nbformat.read(paths.executed_folder(profile) / f"{name}.ipynb", as_version=4)


def text_of(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def everything_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) if folder.exists() else []


def test_names_are_the_numbered_notebooks_in_order(folder: Path) -> None:
    for name in ("explore", "02-b", "10-c", "00-a"):
        write(name)
    assert notebook_names() == ["00-a", "02-b", "10-c"]


def test_executed_again_only_when_an_input_has_changed(folder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    notebook = write("00-a", f"open({str(runs)!r}, 'a').write(profile + '\\n')")
    records = tmp_path / "records"
    records.mkdir()
    target = paths.executed_folder("smoke") / "00-a.ipynb"

    assert execute("smoke", "00-a", [records])
    assert runs.read_text() == "smoke\n"
    first = target.read_bytes()
    assert not execute("smoke", "00-a", [records])

    cells = nbformat.read(notebook, as_version=4)
    cells.cells[-1].outputs = [new_output("stream", text="shown in JupyterLab")]
    nbformat.write(cells, notebook)
    (records / ".lock").touch()
    assert not execute("smoke", "00-a", [records])

    (records / "a.jsonl").write_text("{}\n")
    assert execute("smoke", "00-a", [records])
    (records / "a.jsonl").unlink()
    assert execute("smoke", "00-a", [records])
    assert target.read_bytes() == first

    (notebooks.PACKAGE / "code.py").touch()
    assert execute("smoke", "00-a", [records])

    cells.cells[0].source = "# Another title"
    nbformat.write(cells, notebook)
    assert execute("smoke", "00-a", [records])
    assert len(runs.read_text().splitlines()) == 5


def test_inputs_that_the_notebook_itself_writes_count_as_they_are_afterwards(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    write("00-a", f"open({str(table)!r}, 'w').write('a,b')")
    assert execute("smoke", "00-a", [table])
    assert not execute("smoke", "00-a", [table])
    assert execute("quick", "00-a", [table])
    table.unlink()
    assert execute("smoke", "00-a", [table])
    assert table.exists()


def test_result_shows_outputs_but_neither_this_machine_nor_the_moment(folder: Path) -> None:
    write(
        "00-a",
        "import sys\nimport warnings\nfrom pathlib import Path\n\nfrom tqdm import tqdm\n\nimport greenai_utils",
        "print(profile, sys.executable, greenai_utils.__file__, Path.home() / 'x')\nwarnings.warn('mind this')\n"
        "for _ in tqdm(range(3), desc='trials'):\n    pass",
        "Path.cwd()",
    )
    execute("smoke", "00-a", [])
    notebook = executed("smoke", "00-a")
    shown = text_of(notebook)
    assert f"smoke .venv/bin/{Path(sys.executable).name} greenai_utils/__init__.py ~/x\n" in shown
    assert "cell:2: UserWarning: mind this" in shown
    assert "trials" not in shown
    here = folder.relative_to(tempfile.gettempdir())
    assert notebook.cells[-1].outputs[0].data["text/plain"] == f"PosixPath('$TMPDIR/{here}')"
    written = (paths.executed_folder("smoke") / "00-a.ipynb").read_text()
    for gone in ("papermill", "iopub", str(paths.ROOT), str(Path.home()) + "/", "start_time"):
        assert gone not in written
    nbformat.validate(notebook)
    assert everything_in(paths.output_root()) == ["report", "report/smoke", "report/smoke/00-a.ipynb"]


def test_failing_cell_ends_in_one_message_and_leaves_what_was_there(folder: Path) -> None:
    error = InputError("an epoch count is positive", "-1", "give 1 or more")
    write("00-a", "print('fine')")
    execute("smoke", "00-a", [])
    before = (paths.executed_folder("smoke") / "00-a.ipynb").read_bytes()
    write("00-a", "from greenai_utils.errors import InputError", f"# why\nraise InputError{error.__reduce__()[1]!r}")
    with pytest.raises(NotebookError) as failed:
        execute("smoke", "00-a", [])
    assert str(failed.value) == f"{error} (notebook 00-a, code cell 3: raise InputError{error.__reduce__()[1]!r})"
    assert (paths.executed_folder("smoke") / "00-a.ipynb").read_bytes() == before
    assert everything_in(paths.executed_folder("smoke")) == ["00-a.ipynb"]


def test_a_fault_of_the_code_names_its_place(folder: Path) -> None:
    write(
        "00-a",
        "from greenai_utils.files import write_text",
        "write_text(None, '')",
    )
    with pytest.raises(
        NotebookError,
        match=r"^AttributeError: .* \(notebook 00-a, code cell 3: .*, at greenai_utils/files.py:\d+\)$",
    ):
        execute("smoke", "00-a", [])
    assert everything_in(paths.output_root()) == []


def test_a_killed_kernel_is_said(folder: Path) -> None:
    write("00-a", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match=r"notebook 00-a: its kernel was killed"):
        execute("smoke", "00-a", [])
    assert everything_in(paths.output_root()) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_stopped_anywhere_leaves_nothing_half_written(stop: signal.Signals, folder: Path, tmp_path: Path) -> None:
    reached = tmp_path / "reached"
    write("00-a", f"import os\nimport time\n\nopen({str(reached)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    script = (
        "from pathlib import Path\n"
        "from greenai_utils import paths\nfrom greenai_utils.report import execute as notebooks\n"
        f"paths.NOTEBOOKS = Path({str(folder)!r})\n"
        "notebooks.execute('smoke', '00-a', [])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    while not (reached.exists() and reached.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(stop)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in said) == (stop == signal.SIGINT)
    assert everything_in(paths.output_root()) == []
    kernel = int(reached.read_text())
    for _ in range(200):
        if not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel outlives the process that started it")


def test_unknown_notebook(folder: Path) -> None:
    write("00-a")
    with pytest.raises(InputError, match=r"the notebooks are 00-a; got '01-b'\."):
        execute("smoke", "01-b", [])


def test_notebook_without_parameters(folder: Path) -> None:
    write("00-a", tagged=False)
    with pytest.raises(InputError, match="one cell tagged parameters; got 0 in 00-a"):
        execute("smoke", "00-a", [])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"metadata": {"greenai": 3}}'])
def test_a_broken_result_is_made_again(content: str, folder: Path) -> None:
    target = paths.executed_folder("smoke") / "00-a.ipynb"
    target.parent.mkdir(parents=True)
    target.write_text(content)
    assert notebooks._stored_digest(target) is None
