"""What climbing costs and buys: ladders of epochs and of network size, rung by rung, and whether returns diminish."""

from collections.abc import Iterator

import pandas as pd

from greenai_utils.stats.diminishing_returns import diminishing_returns, slope_ratio_interval
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies.study_data import StudyData, Table, with_source
from greenai_utils.studies.tuning.search_progress import chosen_by

POINT = 0.01
"""A percentage point of accuracy."""


def ladder_trials(data: StudyData) -> Iterator[tuple[str, pd.DataFrame]]:
    """The finished trainings of each ladder whose joules were read, with the accuracy to choose by as `accuracy`."""
    frame = data.ladders[(data.ladders["status"] == "ok") & data.ladders["gross_j"].notna()]
    frame = frame.assign(accuracy=chosen_by(frame), gross_j=frame["gross_j"].astype(float))
    for ladder, trials in frame.groupby("ladder"):
        yield str(ladder), trials


@Table
def ladder_rungs(data: StudyData) -> pd.DataFrame:
    """Mean accuracy and energy of each rung, and what a percentage point more than on the rung below cost.

    Intervals are Student's over repetitions. A rung no more accurate than the one below has no price of a point.
    """
    parts = []
    for ladder, trials in ladder_trials(data):
        accuracy = group_means(trials, "accuracy", "rung")
        energy = group_means(trials, "gross_j", "rung")
        table = pd.DataFrame(
            {
                "ladder": ladder,
                "rung": accuracy["rung"],
                "n": accuracy["n"],
                **{f"accuracy{end}": accuracy[name] for end, name in _ENDS.items()},
                **{f"gross_j{end}": energy[name] for end, name in _ENDS.items()},
            }
        )
        gain, extra = table["accuracy"].diff(), table["gross_j"].diff()
        parts.append(table.assign(gain=gain, extra_j=extra, j_per_point=(POINT * extra / gain).where(gain > 0)))
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table
def ladder_returns(data: StudyData) -> pd.DataFrame:
    """Whether returns diminish along each ladder: saturating curve against straight line by AICc, and slopes' ratio.

    Every training starts from weights of its own, so that trainings are independent; the interval of the slopes' ratio
    draws repetitions of the whole ladder.
    """
    rows = []
    for ladder, trials in ladder_trials(data):
        fit = diminishing_returns(trials["gross_j"], trials["accuracy"])
        ratio = slope_ratio_interval(trials["gross_j"], trials["accuracy"], trials["repetition"])
        rows.append(
            {
                "ladder": ladder,
                "n": fit.n,
                "ceiling": fit.ceiling,
                "gain": fit.gain,
                "scale_j": fit.scale_j,
                "slope_per_j": fit.slope_per_j,
                "aicc_saturating": fit.aicc_saturating,
                "aicc_linear": fit.aicc_linear,
                "delta_aicc": fit.delta_aicc,
                "weight_saturating": fit.weight_saturating,
                "slope_ratio": ratio.estimate,
                "ci_low": ratio.low,
                "ci_high": ratio.high,
            }
        )
    return with_source(pd.DataFrame(rows), data)


_ENDS = {"": "mean", "_low": "ci_low", "_high": "ci_high"}
