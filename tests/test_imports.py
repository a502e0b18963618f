"""Imports go one way, importing does nothing, and what draws figures does not load torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from greenai_utils.__main__ import COMMANDS
from greenai_utils.paths import ROOT

PACKAGE = ROOT / "greenai_utils"
MODULES = sorted(file.stem for file in PACKAGE.glob("*.py") if file.stem != "__init__")
# No module of this list may need one that stands after it, not even through others.
ORDER = (
    *(
        "errors",
        "openmp",
        "values",
        "paths",
        "files",
        "spaces",
        "settings",
        "energy",
        "counts",
        "trainings",
        "closure",
        "roofline",
        "shapes",
        "gpu_watch",
        "power",
        "instruments",
        "goes",
        "deadline",
        "datasets",
        "models",
        "checkpoints",
        "schedules",
        "loops",
        "scoring",
        "stacked_loop",
        "module_loop",
        "training",
        "population",
        "search",
        "levers",
        "records",
        "lengths",
        "layer_plans",
        "plans",
        "workbench",
        "microbenchmarks",
        "layers",
        "training_work",
        "layer_measures",
        "search_records",
        "measuring",
        "trainer",
        "lockstep",
    ),
    *("meter_comparison", "plain_loop", "lever_runs", "studies", "recording", "published", "statistics", "anova"),
    *("survival", "fronts", "claims", "machine_model", "forecasts", "meter_tables", "layer_tables", "cost_tables"),
    *("lever_tables", "tables", "figures", "chapter", "prediction"),
    *("notebooks", "reporting", "pipeline", "__main__"),
)
# Imports inside a function, each because the module loads for seconds and most callers do not need it.
DEFERRED = {("energy", "zeus_counters")}
WITHOUT_TORCH = (
    *("errors", "openmp", "search", "levers", "records", "lengths", "layer_plans", "plans", "search_records"),
    *("published", "statistics", "anova", "survival", "fronts", "claims", "machine_model", "forecasts", "closure"),
    *("roofline", "shapes", "goes", "power", "meter_tables", "layer_tables", "cost_tables", "lever_tables", "tables"),
    *("figures", "chapter", "notebooks", "reporting", "pipeline", "__main__"),
)
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


def imported(module: str) -> dict[str, bool]:
    """The package's modules that a module imports, and whether it does so inside a function."""
    found: dict[str, bool] = {}
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = [
                f"{node.module}.{alias.name}" if node.module == "greenai_utils" else str(node.module)
                for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "greenai_utils" and rest != "__version__":
                found[rest.partition(".")[0]] = node not in tree.body
    return found


GRAPH = {module: imported(module) for module in MODULES}
GRAPH["__main__"] |= {command.module: False for command in COMMANDS.values()}  # by name, once the command is known


def needed(module: str) -> set[str]:
    """Every module that a module needs, itself included."""
    reached, ahead = {module}, [module]
    while ahead:
        new = set(GRAPH[ahead.pop()]) - reached
        reached |= new
        ahead += new
    return reached


def spy_on(modules: list[str], folder: Path) -> list[str]:
    """Import modules in a process of their own, and return what the spy saw in the repository and in the folder."""
    words = [sys.executable, "-B", "-c", SPY, " ".join(modules), str(ROOT), str(folder)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_import_is_of_a_module() -> None:
    assert {name for names in GRAPH.values() for name in names} <= set(MODULES)


def test_no_module_needs_itself() -> None:
    TopologicalSorter({module: set(names) for module, names in GRAPH.items()}).prepare()


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module: str) -> None:
    later = ORDER[ORDER.index(module) + 1 :]
    assert needed(module) & set(later) == set()


def test_imports_stand_at_the_top_but_the_named_ones() -> None:
    inside = {(module, name) for module, names in GRAPH.items() for name, within in names.items() if within}
    assert inside == DEFERRED


def test_importing_changes_nothing_and_loads_torch_only_where_it_is_needed(tmp_path: Path) -> None:
    first = [f"greenai_utils.{module}" for module in WITHOUT_TORCH]
    then = [f"greenai_utils.{module}" for module in MODULES if module not in WITHOUT_TORCH]
    seen = spy_on(first + then, tmp_path)
    assert [line for line in seen if line.split()[0] in first or not line.endswith("with torch")] == []
    assert "greenai_utils.training with torch" in seen


def test_the_spy_sees_torch_and_changes(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "careless.py").write_text("import os\nimport torch\nopen('new', 'w').close()\nos.mkdir('folder')\n")
    assert spy_on(["json", "careless"], tmp_path) == ["open new", "os.mkdir folder", "careless with torch"]
