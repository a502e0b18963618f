"""The claims of Yarally et al. (2023), each judged by a rule that was fixed before its numbers were seen.

A claim is data: what is said, the number that decides it, the smallest effect of interest, and on which side of it the
number must lie. Evidence turns into an effect with a 95 % interval (`effects`), and the interval into a verdict:

- `supported`: the whole interval lies on the claim's side of the threshold;
- `not supported`: the whole interval lies on the other side;
- `undecided`: it straddles the threshold, or one unit allows no interval;
- `not testable here`: the evidence does not hold what the claim is about.

A claim about measured energy that holds on estimated energy, or on joules that were imputed rather than read, is
`supported (estimate)`, never `supported`.

Intervals are not widened for their number. Support needs every row of a claim, so that many rows make it no easier; a
single row refutes, and one in forty whose truth lies on the very threshold does so by chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

from greenai_utils.stats.intervals import FEWEST_RESAMPLED, LEVEL, RESAMPLES, Effect

SUPPORTED = "supported"
SUPPORTED_ESTIMATE = "supported (estimate)"
NOT_SUPPORTED = "not supported"
UNDECIDED = "undecided"
NOT_TESTABLE = "not testable here"
VERDICTS = (SUPPORTED, SUPPORTED_ESTIMATE, NOT_SUPPORTED, UNDECIDED, NOT_TESTABLE)


@dataclass(frozen=True)
class Claim:
    """Something said, and what decides it.

    Attributes:
        statement: What is said.
        estimand: The number that decides, with its unit.
        units: What is independent, and resampled for the interval.
        side: Where the interval must lie: `above` or `below` the threshold, or `within` it on both sides of zero.
        threshold: The smallest effect of interest, in the estimand's unit.
        reason: Why that much.
        about_energy: Whether the claim is about measured energy.
        upper_bound: Whether the number is no less than what the claim is about, so that it can support a claim that
            something is small but never refute it.
    """

    statement: str
    estimand: str
    units: str
    side: Literal["above", "below", "within"]
    threshold: float
    reason: str
    about_energy: bool = True
    upper_bound: bool = False

    @property
    def test(self) -> str:
        """How the claim is decided, in words."""
        return (
            f"{LEVEL:.0%} expanded percentile bootstrap interval over {self.units} ({RESAMPLES:,} resamples; of fewer "
            f"than {FEWEST_RESAMPLED}, Student's with the jackknife's error), to lie {self.side} {self.threshold:g}"
        )


_POINT = "A percentage point is what a reader of an accuracy table would notice."
_HALF = "Returns have diminished when the next joule buys less than half of what those before it bought."
_TWENTIETH = "A twentieth is less than any choice of network makes."
_NOISY = f"{_TWENTIETH} Noise and drift of the machine are in it too."
_OTHERS = "Hyperparameters other than the network barely move the energy of a training"

_better_peak = partial(
    Claim,
    estimand="best accuracy of a search, percentage points more, mean over pairs",
    units="pairs of searches",
    side="above",
    threshold=1.0,
    reason=_POINT,
    about_energy=False,
)
_harmless_to_accuracy = partial(
    Claim,
    estimand="test accuracy with the fault less without, percentage points, same configurations and seeds",
    units="configurations",
    side="within",
    threshold=1.0,
    reason=_POINT,
    about_energy=False,
)
_dearer = partial(
    Claim, units="configurations", side="above", threshold=2.0, reason="A strong margin is at least double."
)
_over_linear = partial(_dearer, estimand="joules of an added convolution over those of an added linear layer")
_over_relu = partial(_dearer, estimand="joules of an added convolution over those of an added ReLU layer")
_cheaper_search = partial(
    Claim,
    units="pairs of searches",
    side="below",
    threshold=0.9,
    reason="A tenth is the least saving worth another tool.",
)
_diminishing = partial(Claim, side="below", threshold=0.5, reason=_HALF)
_reduced = partial(Claim, units="configurations", side="below")
_barely_moved = partial(Claim, side="below", threshold=5.0)
_same_joules = partial(Claim, side="within", threshold=5.0, reason=_TWENTIETH)

_CLAIMS = {
    "1a bayesian peak accuracy": _better_peak(
        "Bayesian optimisation finds better configurations than grid and random search."
    ),
    "1b bayesian energy to target": _cheaper_search(
        "Bayesian optimisation needs less energy than grid and random search until it gets there.",
        "joules to the target, ratio, geometric mean over pairs of which one arrives",
    ),
    "1c bayesian total energy": _cheaper_search(
        "A whole Bayesian search takes less energy than a grid or random search of as many trials.",
        "joules of a search, ratio, geometric mean over pairs",
    ),
    "2 bayesian overhead": _cheaper_search(
        "What the Bayesian tuner itself consumes does not eat what it saves.",
        "joules to the target with the tuner's own, ratio, geometric mean over pairs of which one arrives",
        threshold=1.0,
        reason="Break-even.",
    ),
    "3a convolution over linear": _over_linear(
        "Convolutional layers cost the most by a strong margin; linear layers cost far less."
    ),
    "3b convolution over relu": _over_relu(
        "Convolutional layers cost the most by a strong margin; ReLU layers cost far less."
    ),
    "4a diminishing between networks": _diminishing(
        "More energy-hungry networks buy diminishing accuracy.",
        "accuracy a joule of added convolutions over accuracy above chance a joule without them",
        "configurations",
    ),
    "4b diminishing within a search": _diminishing(
        "More energy spent on tuning buys diminishing accuracy.",
        "accuracy added by the second half of a search's joules over that above chance by the first",
        "searches",
    ),
    "4c diminishing along a ladder": Claim(
        "Longer training and larger networks buy diminishing accuracy.",
        "AICc of a straight line less that of a saturating curve, accuracy against joules of a training",
        "repetitions of the ladder",
        side="above",
        threshold=0.0,
        reason="Above 0 the curve explains more than its further parameter costs.",
    ),
    "5a halving energy": _reduced(
        "Reducing the network halves the energy of a training.",
        "joules of the smallest network over those of the largest",
        threshold=0.5,
        reason="Half, as claimed.",
    ),
    "5b halving accuracy": _reduced(
        "Reducing the network costs little accuracy.",
        "accuracy that the smallest network loses against the largest, percentage points",
        threshold=1.0,
        reason=_POINT,
        about_energy=False,
    ),
    "6a hyperparameters within a search": _barely_moved(
        f"{_OTHERS}: within a search.",
        "coefficient of variation of a training's energy within a search, percent, median over searches",
        "searches",
        reason=_NOISY,
        upper_bound=True,
    ),
    "6b hyperparameters between configurations": _barely_moved(
        f"{_OTHERS}: in the layer study.",
        "standard deviation between configurations of a network, noise taken out, percent, mean over networks",
        "configurations",
        reason=_TWENTIETH,
    ),
    "6c hyperparameters trained alone": _barely_moved(
        f"{_OTHERS}: at random, each alone.",
        "coefficient of variation of the energy of random configurations, each trained alone, percent",
        "configurations",
        reason=_NOISY,
        upper_bound=True,
    ),
}
CLAIMS: Mapping[str, Claim] = MappingProxyType(_CLAIMS)
"""What the paper claims, by a short name."""

_DEFECTS = {
    "d01 batches never reshuffled": _harmless_to_accuracy(
        "The results do not hang on batches that were made once and never reshuffled."
    ),
    "d02 beta2 never applied": _harmless_to_accuracy(
        "The results do not hang on the sampled beta2, which was read from the wrong place and never applied."
    ),
    "d03 chosen by test accuracy": _better_peak(
        "Bayesian optimisation, as published, finds better configurations when they are chosen on a validation set."
    ),
    "d04 evaluated in training mode": _harmless_to_accuracy(
        "The results do not hang on batch norm that normalised by the test set."
    ),
    "d05 every batch and loss copied": _same_joules(
        "The joules do not hang on copying every batch to the device and every loss back.",
        "joules of a training with the fault more than without, percent, same configurations and seeds",
        "configurations",
    ),
    "d06 grid without upper bounds": _better_peak(
        "Bayesian optimisation, as published, finds better configurations than a grid that spans the space."
    ),
    "d07 kernel fixed, inputs unscaled": _better_peak(
        "Bayesian optimisation with a fitted kernel on scaled inputs finds better configurations than the published "
        "grid and random search."
    ),
    "d08 learning rate not on a log scale": _better_peak(
        "Bayesian optimisation finds better configurations where every strategy draws the learning rate on a log scale "
        "and betas below 1."
    ),
    "d09 dense networks without activation": _harmless_to_accuracy(
        "The results do not hang on dense networks that are affine maps however deep."
    ),
    "d10 relu confounded with configurations": _over_relu(
        "Convolutions cost far more than ReLU layers when both are compared on the same configurations."
    ),
    "d11 trainings taken for independent": _over_linear(
        "Convolutions cost far more than linear layers when the configuration is the replicate."
    ),
    "d12 power sampled ten times a second": _same_joules(
        "The joules do not hang on sampling power with nvidia-smi instead of reading the energy counter.",
        "sampled joules more than counted ones, percent",
        "windows",
    ),
}
DEFECTS: Mapping[str, Claim] = MappingProxyType(_DEFECTS)
"""The faults of the published code: does what was claimed survive when each is mended?"""

RULES: Mapping[str, Claim] = {**CLAIMS, **DEFECTS}
"""Both, by name."""


PUBLISHED, OWN, RECORDED = "published", "records", "recorded"
"""What evidence is called: the authors' data; the profile's own records; before its name, a profile that ships."""


def shown_evidence(evidence: str) -> str:
    """What readers call a body of evidence."""
    return {PUBLISHED: "authors' data", OWN: "this profile"}.get(evidence, evidence.replace(RECORDED, "profile"))


def verdict(claim: Claim, effect: Effect, estimated: bool = False) -> str:
    """Judge a claim by its rule.

    Args:
        claim: The claim.
        effect: The number that decides, with its interval; `intervals.NOTHING` where the evidence does not hold it.
        estimated: Whether joules behind the effect are an estimate, or imputed.
    """
    if np.isnan(effect.estimate):
        return NOT_TESTABLE
    limit = claim.threshold
    above, below = effect.low > limit, effect.high < limit  # neither, where there is no interval
    holds, fails = {
        "above": (above, below),
        "below": (below, above),
        "within": (-limit < effect.low and below, above or effect.high < -limit),
    }[claim.side]
    if holds:
        return SUPPORTED_ESTIMATE if claim.about_energy and estimated else SUPPORTED
    return NOT_SUPPORTED if fails and not claim.upper_bound else UNDECIDED


def decisive(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a claim and body of evidence that decide: data sets for themselves, pooled where there are none."""
    own = rows[rows["dataset"] != "all"]
    return own if len(own) else rows


def conclude(table: pd.DataFrame) -> pd.DataFrame:
    """One verdict for each claim and body of evidence, from all its rows.

    A claim is said of every data set, opponent and target, so it is supported only where all of its rows are; it is not
    supported where a single row is not; otherwise it is undecided. Rows of pooled data sets (`all`) take no part where
    the data sets have rows of their own.

    Args:
        table: What `evidence.judge` returns, of one or more bodies of evidence.

    Returns:
        claim, statement, evidence, verdict, rows, supported (rows that support it).
    """
    rows = []
    for (name, evidence), part in table.groupby(["claim", "evidence"], sort=False):
        verdicts = decisive(part)["verdict"]
        supported = verdicts.isin([SUPPORTED, SUPPORTED_ESTIMATE])
        if (verdicts == NOT_TESTABLE).all():
            overall = NOT_TESTABLE
        elif (verdicts == NOT_SUPPORTED).any():
            overall = NOT_SUPPORTED
        elif supported.all():
            overall = SUPPORTED if (verdicts == SUPPORTED).all() else SUPPORTED_ESTIMATE
        else:
            overall = UNDECIDED
        rows.append([name, RULES[str(name)].statement, evidence, overall, len(verdicts), int(supported.sum())])
    return pd.DataFrame(rows, columns=["claim", "statement", "evidence", "verdict", "rows", "supported"])
