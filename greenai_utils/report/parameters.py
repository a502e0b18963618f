"""Parameters that a notebook was started with: an unknown one is an error here, where papermill only warns."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from greenai_utils.errors import InputError

INJECTED = "# Parameters"  # the first line of the cell that papermill writes and executes before the others


def require_parameters(namespace: Mapping[str, Any], known: Iterable[str]) -> None:
    """Check that whoever started this notebook set no parameter that it does not have.

    IPython keeps the source of every executed cell in `In`. Reading the injected cell there, rather than looking for
    strangers in the namespace, tells a parameter from a variable that the notebook itself made, so that a cell may be
    executed again in JupyterLab.

    Args:
        namespace: The notebook's `globals()`.
        known: The names in the notebook's own cell of parameters.

    Raises:
        InputError: A parameter is unknown.
    """
    known = sorted(known)
    injected = [name for cell in namespace.get("In", []) if _is_injected(cell) for name in _assigned(cell)]
    if unknown := sorted(set(injected) - set(known)):
        raise InputError(
            f"this notebook's parameters are {', '.join(known)}",
            ", ".join(unknown),
            "leave it out or correct its spelling",
        )


def _is_injected(cell: str) -> bool:
    return cell.strip().split("\n", 1)[0].rstrip() == INJECTED


def _assigned(cell: str) -> list[str]:
    """The names that top-level statements of a cell assign to."""
    targets: list[ast.expr] = []
    for statement in ast.parse(cell).body:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]
