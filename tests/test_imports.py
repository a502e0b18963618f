"""Importing does nothing, and what plans, tabulates and draws does not load torch; import-linter checks the arrows."""

import subprocess
import sys
from pathlib import Path

from greenai_utils.paths import ROOT

PACKAGE = ROOT / "greenai_utils"
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in PACKAGE.rglob("*.py")
)
# Rooms and modules that are there to be used where torch is not wanted.
WITHOUT_TORCH = ("errors", "identity", "stats", "search", "report", "__main__")
MEASURING = ("measure", "record", "rounds", "prediction")
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink"}
# Imports modules in turn; prints each after which torch is loaded, and what an import changes in the folders named.
SPY = f"""
import os, sys
modules, *watched = sys.argv[1:]
def spy(event, arguments):
    if event == "open":
        path, _, flags = arguments
        changes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    elif event in {CHANGES}:
        path, changes = arguments[0], True
    else:
        return
    if changes and isinstance(path, (str, bytes)) and os.path.realpath(os.fsdecode(path)).startswith(tuple(watched)):
        print(event, os.path.basename(os.fsdecode(path)))
sys.addaudithook(spy)
for module in modules.split():
    __import__(module)
    if "torch" in sys.modules:
        print(module, "with torch")
"""


def spy_on(modules: list[str], folder: Path) -> list[str]:
    """Import modules in a process of their own, and return what the spy saw in the repository and in the folder."""
    words = [sys.executable, "-B", "-c", SPY, " ".join(modules), str(ROOT), str(folder)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()


def needs_no_torch(module: str) -> bool:
    """Whether a module is one that a reader of records uses."""
    _, room, *rest = [*module.split("."), ""]
    return room in WITHOUT_TORCH or (room == "studies" and not set(rest) & set(MEASURING))


def test_importing_changes_nothing_and_loads_torch_only_where_it_is_needed(tmp_path: Path) -> None:
    first = [module for module in MODULES if needs_no_torch(module)]
    then = [module for module in MODULES if not needs_no_torch(module)]
    seen = spy_on(first + then, tmp_path)
    assert [line for line in seen if line.split()[0] in first or not line.endswith("with torch")] == []
    assert "greenai_utils.training.run with torch" in seen


def test_the_spy_sees_torch_and_changes(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "careless.py").write_text("import os\nimport torch\nopen('new', 'w').close()\nos.mkdir('folder')\n")
    assert spy_on(["json", "careless"], tmp_path) == ["open new", "os.mkdir folder", "careless with torch"]
