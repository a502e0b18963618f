"""What the figures and sentences of searches share: a cell of a table, a target in it, and words.

A search has a *cell*: data set, network, search space and protocol. Strategies are compared within a cell.
"""

import pandas as pd

from greenai_utils.errors import Gap
from greenai_utils.studies.search_progress import CELL

SUMMARY_TARGET = 0.95
"""The share of the best known accuracy that single comparisons count joules to; tables give the other targets too."""
BASELINE = "random"
"""The strategy that every other one has to beat: it learns from nothing."""
SIGNIFICANT = 0.05
"""Below this p value, after Holm's correction, two strategies count as different."""
FAULTS = {
    "published": "all of them (published)",
    "fault:reshuffle": "batches never reshuffled",
    "fault:apply_beta2": "beta2 not applied",
    "fault:hold_out_validation": "no validation split",
    "fault:evaluate_in_eval_mode": "evaluated in training mode",
    "fault:stay_on_device": "copies every batch and loss",
    "fault:dense_relu": "no activation between layers",
}
"""Contrasts in words; any other stands as it is named."""


def most_searched(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cell that has the most of them; of several the first."""
    return in_cell_of(table[CELL].value_counts(sort=False).idxmax(), table)


def in_cell_of(cell: tuple[str, ...] | pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are of a cell, or of the cells of another table."""
    cells = cell[CELL].drop_duplicates() if isinstance(cell, pd.DataFrame) else pd.DataFrame([cell], columns=CELL)
    return table.merge(cells, on=CELL)


def at_target(energies: pd.DataFrame, target: float) -> pd.DataFrame:
    """The strategies of the cell most searched, the one that reaches a target for the fewest joules first.

    Args:
        energies: The table `tuning_energy_to_target`.
        target: A share of the best accuracy; the nearest of the table's is taken.
    """
    cell = most_searched(energies)
    nearest = min(cell["target"].unique(), key=lambda each: abs(each - target))
    return cell[cell["target"] == nearest].sort_values(["restricted_mean_j", "strategy"])


def of_space(energies: pd.DataFrame, space: str) -> pd.DataFrame:
    """The rows of one search space.

    Raises:
        Gap: It was not searched.
    """
    if not (energies["space"] == space).any():
        raise Gap(
            f"the space {space!r} was searched",
            "no searches of it",
            f"add the space {space!r} to `others` under `tuning`",
        )
    return energies[energies["space"] == space]


def span(numbers: pd.Series) -> str:
    """The least and the most of whole numbers, in words."""
    low, high = numbers.min(), numbers.max()
    return f"{low}" if low == high else f"{low} to {high}"


def joules(number: float) -> str:
    """An energy with three digits, or its whole joules where they are more."""
    return f"{number:,.0f} J" if number >= 1000 else f"{number:.3g} J"
