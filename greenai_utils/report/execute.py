"""Execute a notebook with papermill when its inputs have changed; the result is whole and names no local folder."""

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from greenai_utils import paths
from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.files import write_text
from greenai_utils.report.executed import METADATA

PACKAGE = Path(__file__).resolve().parents[1]
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
KERNEL_FILE = re.compile(r"\S*ipykernel_\d+/\d+\.py")
SOURCE_LINE = re.compile(rf"{re.escape(str(PACKAGE))}/(\S+?\.py):(\d+)")


class NotebookError(ExpectedError, RuntimeError):
    """A notebook's cell failed; the message names both and keeps the cell's own message."""


class OwnInterpreter(AsyncKernelManager):
    """Starts kernels of the interpreter that runs this code, whatever kernels the user has installed as `python3`."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start the kernel."""
        quiet = ["--log-level=CRITICAL"]  # its log goes to the terminal, where a failed cell has its own one message
        return KernelSpec(**get_kernel_dict(quiet))


def notebook_names() -> list[str]:
    """The numbered notebooks, in their order, without their ending."""
    return sorted(file.stem for file in paths.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))


def execute(profile: str, name: str, inputs: Sequence[Path]) -> bool:
    """Execute a notebook for a profile unless nothing that it depends on has changed since it was executed.

    It runs in the notebooks' folder, with this process's environment, and replaces what was executed before only when
    every cell has succeeded.

    Args:
        profile: The value of the notebook's parameter of that name; `settings`, where there are any, stay unchanged.
        name: The notebook's name, without its ending.
        inputs: Files and folders that the notebook reads or writes. Being missing counts as a content too, so that a
            deleted result is made again. They are read again after execution, since a notebook may add to its records.

    Returns:
        Whether the notebook was executed.

    Raises:
        InputError: There is no such notebook, or it has no cell of parameters.
        NotebookError: A cell failed.
        OSError: The executed notebook could not be written.
    """
    notebook = _read(name)
    target = paths.executed_folder(profile) / f"{name}.ipynb"
    code = _digest_code(notebook, profile)
    if _stored_digest(target) == _digest_inputs(code, inputs):
        return False
    executed = _run(name, notebook, {"profile": profile, **_others(notebook)})
    _clean(executed)
    executed.metadata[METADATA] = {"profile": profile, "inputs_sha256": _digest_inputs(code, inputs)}
    write_text(target, nbformat.writes(executed, version=4) + "\n")
    return True


def _read(name: str) -> NotebookNode:
    file = paths.NOTEBOOKS / f"{name}.ipynb"
    if not file.is_file():
        raise InputError(f"the notebooks are {', '.join(notebook_names())}", repr(name), "name one of them")
    notebook = nbformat.read(file, as_version=4)
    tagged = sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    if tagged != 1:
        raise InputError(
            "a notebook has one cell tagged parameters", f"{tagged} in {name}", "tag the cell that sets profile"
        )
    return notebook


def _others(notebook: NotebookNode) -> dict[str, Any]:
    """The parameters beside the profile that a notebook has, none of them changed."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    return {"settings": {}} if re.search(r"^settings\b", cell.source, re.MULTILINE) else {}


def _run(name: str, notebook: NotebookNode, parameters: dict[str, Any]) -> NotebookNode:
    try:
        return papermill.execute_notebook(
            notebook,
            None,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            kernel_manager_class=OwnInterpreter,
            progress_bar=False,
            cwd=paths.NOTEBOOKS,
        )
    except PapermillExecutionError as error:
        raise NotebookError(_explain(name, error)) from None
    except DeadKernelError as error:
        message = (
            f"notebook {name}: its kernel was killed, which a lack of memory can cause. Free some and start again."
        )
        raise NotebookError(message) from error


def _explain(name: str, error: PapermillExecutionError) -> str:
    """One message from a failed cell: what it says, and where it says it.

    An `InputError` has said everything; anything else is a fault of the code, so its place there is named as well.
    """
    first = next((line for line in error.source.splitlines() if line.strip() and not line.startswith("#")), "")
    number = error.exec_count - 1  # papermill's own cell of parameters is executed too
    where = f"notebook {name}, code cell {number}: {first.strip()}"
    if error.ename == InputError.__name__:
        return f"{error.evalue} ({where})"
    places = SOURCE_LINE.findall(ANSI.sub("", "\n".join(error.traceback)))
    at = f", at greenai_utils/{places[-1][0]}:{places[-1][1]}" if places else ""
    return f"{error.ename}: {error.evalue} ({where}{at})"


def _digest_code(notebook: NotebookNode, profile: str) -> str:
    """SHA-256 over what runs: the profile's name, the notebook's own cells, the package."""
    cells = [[cell.cell_type, cell.source, cell.metadata.get("tags", [])] for cell in notebook.cells]
    package = [_fingerprint(file) for file in sorted(PACKAGE.rglob("*.py"))]
    return _digest([profile, cells, package])


def _digest_inputs(code: str, inputs: Iterable[Path]) -> str:
    """SHA-256 over the code's digest and the names and contents of files, and of all files in folders."""
    files = [file for path in inputs for file in (_visible_files(path) if path.is_dir() else [path])]
    return _digest([code, [_fingerprint(file) for file in files]])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _fingerprint(file: Path) -> tuple[str, str]:
    """A file's name, as seen from the folder it belongs to, and the SHA-256 of its content."""
    root = next(
        (root for root in (paths.data_home(), paths.output_root(), paths.ROOT) if file.is_relative_to(root)),
        Path(file.anchor),
    )
    content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
    return file.relative_to(root).as_posix(), content


def _visible_files(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones, which are locks and files being written."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _stored_digest(target: Path) -> str | None:
    """The digest that an executed notebook was made from; none for a file that is missing or is no notebook of ours."""
    try:
        metadata = json.loads(target.read_text(encoding="utf-8"))["metadata"]
        return str(metadata[METADATA]["inputs_sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _clean(notebook: NotebookNode) -> None:
    """Take out what differs from run to run or names this machine: times, paths, progress bars, widget states."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    _merge_parameters(notebook)
    count = 0
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [cleaned for output in cell.outputs if (cleaned := _clean_output(output))]
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count


def _merge_parameters(notebook: NotebookNode) -> None:
    """Keep one cell of parameters, with the values that were used: papermill leaves the defaults before its own."""
    tags = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    used = tags["injected-parameters"]
    tags["parameters"].source = used.source.removeprefix("# Parameters\n").strip()
    notebook.cells.remove(used)


def _clean_output(output: NotebookNode) -> NotebookNode | None:
    """An output without progress bars and without the names of this machine's folders; none when nothing is left."""
    if output.output_type == "stream":
        output.text = _without_folders(_without_progress(output.text))
        return output if output.text else None
    data = output.get("data", {})
    for kind in data:
        if kind.startswith("text/"):
            data[kind] = _without_folders(data[kind])
    return output


def _without_progress(text: str) -> str:
    """Leave out lines that were written over: they hold a carriage return, and several bars at once move the cursor."""
    lines = text.replace("\r\n", "\n").split("\n")
    kept = [line for line in lines if "\r" not in line and (not line or ANSI.sub("", line))]
    return "\n".join(kept) if any(kept) else ""


def _without_folders(text: str) -> str:
    """Name folders of this machine by what they are; the narrow ones first."""
    text = KERNEL_FILE.sub("cell", text)
    folders = (
        (Path(sys.prefix), ".venv/"),
        (paths.output_root(), ""),
        (paths.ROOT, ""),
        (paths.data_home(), "$GREENAI_DATA/"),
        (Path(tempfile.gettempdir()), "$TMPDIR/"),
        (Path.home(), "~/"),
    )
    for folder, shown in folders:
        if folder != Path(folder.anchor):
            text = text.replace(f"{folder}/", shown)
    return text
