"""What a search had spent and reached after each of its trials."""

import numpy as np
import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.anytime import anytime_curve

CELL = ["dataset", "network", "space", "protocol"]
"""What strategies are compared within."""


def chosen_by(frame: pd.DataFrame) -> pd.Series:
    """The accuracy that a trial's protocol chooses by: validation, or test where no validation split is held out."""
    return frame["validation_accuracy"].fillna(frame["test_accuracy"])


def search_progress(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of searches in order, with what each search had spent and reached by then.

    Args:
        trials: Rows of `trials.csv`, each of a search.

    Returns:
        The trials sorted by strategy, seed and trial, and: `score` (the accuracy that its protocol chooses by; 0 where
        training diverged), `trial_j` (joules charged to the trial), `joules_basis` (`read` over this training, or
        `imputed`), `cumulative_j` (of the search, this trial included) and `best_so_far` (best score of full length;
        empty before there is one).

    Raises:
        InputError: A trial has neither joules read nor imputed.
    """
    order = [*CELL, "strategy", "search_seed", "search_trial"]
    frame = trials.sort_values(order)
    read = frame["gross_j"].notna()
    frame = frame.assign(
        score=chosen_by(frame).fillna(0.0),
        trial_j=frame["gross_j"].astype(float).fillna(frame["imputed_j"].astype(float)),
        joules_basis=np.where(read, "read", "imputed"),
    )
    if frame["trial_j"].isna().any():
        raise InputError(
            "every trial of a search has joules, read or imputed",
            f"{int(frame['trial_j'].isna().sum())} trials with neither",
            "record these searches again with a meter that counts",
        )
    frame["eligible"] = frame["score"].where(frame["fidelity"] >= 1)
    curves = [anytime_curve(search, "trial_j", "eligible").set_index(search.index) for _, search in by_search(frame)]
    return frame.drop(columns="eligible").join(pd.concat(curves))


def by_search(frame: pd.DataFrame) -> "pd.api.typing.DataFrameGroupBy":
    """The trials of each search."""
    return frame.groupby([*CELL, "strategy", "search_seed"], sort=True)
