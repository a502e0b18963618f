"""Whether the operations of a training step add up to the whole; and their sums by layer, type or pass."""

import math
from collections.abc import Mapping

import pandas as pd

from greenai_utils.energy.meter import Reading
from greenai_utils.errors import InputError

OPERATION_COLUMNS = [
    *("network", "layer", "type", "call", "pass", "joules", "share", "uncertainty_j", "flops", "bytes", "kernels"),
    *("net_j", "seconds", "source", "boundary", "note"),
]
"""Of the table of a step's operations, `attribution.attribute`."""


def closure(attribution: pd.DataFrame, whole: Mapping[str, Reading]) -> pd.DataFrame:
    """Hold the sum of the operations against whole steps of the same network and batch.

    Args:
        attribution: What `attribute` returned, of one network or several.
        whole: For every network the reading of one whole step: from `measure_step`, or of a training shared by its
            steps.

    Returns:
        One row a network: sum_of_parts_j, sum_uncertainty_j, whole_j, residual_pct (sum less whole, in per cent of the
        whole), uncertainty_pct (standard uncertainty of the residual), parts_without_reading, source, boundary.

    Raises:
        InputError: A whole has no joules, or was read from another source or boundary.
    """
    rows = []
    for network, every in attribution.groupby("network", sort=False):
        reading, counted = whole[str(network)], every[every["joules"].notna()]
        kinds = set(zip(counted["source"], counted["boundary"], strict=True))
        if not reading.gross_j or kinds != {(reading.source, reading.boundary)}:
            raise InputError(
                "operations and whole step have joules, of one source and boundary",
                f"{reading.gross_j} J of {(reading.source, reading.boundary)}, and {sorted(kinds) or 'none'}",
                "measure both with one meter, for longer",
            )
        total, scatter = counted["joules"].sum(), math.hypot(*counted["uncertainty_j"])
        spread = math.hypot(scatter, total / reading.gross_j * (reading.uncertainty_j or 0.0))
        rows.append(
            {
                "network": network,
                "sum_of_parts_j": total,
                "sum_uncertainty_j": scatter,
                "whole_j": reading.gross_j,
                "residual_pct": 100 * (total - reading.gross_j) / reading.gross_j,
                "uncertainty_pct": 100 * spread / reading.gross_j,
                "parts_without_reading": len(every) - len(counted),
                "source": reading.source,
                "boundary": reading.boundary,
            }
        )
    return pd.DataFrame(rows)


def totals(attribution: pd.DataFrame, by: str | list[str] = "type") -> pd.DataFrame:
    """Joules, shares, FLOPs and bytes added up by layer, type or pass.

    Args:
        attribution: What `attribute` returned, of one network or several.
        by: Column or columns among layer, type and pass.

    Returns:
        One row a network and group, the largest first: network, the columns `by`, joules, share, uncertainty_j (in
        quadrature), flops, bytes, kernels, parts_without_reading, source, boundary. A group without any reading has no
        joules.
    """
    columns = ["network", *([by] if isinstance(by, str) else by)]
    frame = attribution.assign(
        uncertainty_j=attribution["uncertainty_j"] ** 2, parts_without_reading=attribution["joules"].isna()
    )
    added = ["joules", "share", "uncertainty_j", "flops", "bytes", "kernels", "parts_without_reading"]
    grouped = frame.groupby(columns, sort=False)
    table = grouped[added].sum(min_count=1).join(grouped[["source", "boundary"]].first()).reset_index()
    table["uncertainty_j"] = table["uncertainty_j"] ** 0.5
    return table.sort_values(["network", "joules"], ascending=[True, False], ignore_index=True, kind="stable")
