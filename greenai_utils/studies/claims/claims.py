"""The claims of Yarally et al. (2023), each judged by a rule that was fixed before its numbers were seen.

A claim is data: what is said, the number that decides it, the smallest effect of interest, and on which side of it the
number must lie. Evidence turns into an effect with a 95 % interval (`claim_effects`), and the interval into a verdict:

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
from typing import Literal

import numpy as np
import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import require_columns
from greenai_utils.studies.claims.effects import FEWEST_RESAMPLED, LEVEL, RESAMPLES, Effect
from greenai_utils.validation import check_type

SUPPORTED = "supported"
SUPPORTED_ESTIMATE = "supported (estimate)"
NOT_SUPPORTED = "not supported"
UNDECIDED = "undecided"
NOT_TESTABLE = "not testable here"
VERDICTS = (SUPPORTED, SUPPORTED_ESTIMATE, NOT_SUPPORTED, UNDECIDED, NOT_TESTABLE)

COLUMNS = ["claim", "evidence", "dataset", "estimand", "effect", "ci_low", "ci_high", "threshold", "verdict", "n"]


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


def _better_peak(statement: str) -> Claim:
    return Claim(
        statement=statement,
        estimand="best accuracy of a search, percentage points more, mean over pairs",
        units="pairs of searches",
        side="above",
        threshold=1.0,
        reason="A percentage point is what a reader of an accuracy table would notice.",
        about_energy=False,
    )


def _dearer_convolution(statement: str, other: str) -> Claim:
    return Claim(
        statement=statement,
        estimand=f"joules of an added convolution over those of an added {other} layer",
        units="configurations",
        side="above",
        threshold=2.0,
        reason="A strong margin is at least double.",
    )


def _harmless_to_accuracy(statement: str) -> Claim:
    return Claim(
        statement=statement,
        estimand="test accuracy with the fault less without, percentage points, same configurations and seeds",
        units="configurations",
        side="within",
        threshold=1.0,
        reason="A percentage point is what a reader of an accuracy table would notice.",
        about_energy=False,
    )


CLAIMS: Mapping[str, Claim] = {
    "1a bayesian peak accuracy": _better_peak(
        "Bayesian optimisation finds better configurations than grid and random search."
    ),
    "1b bayesian energy to target": Claim(
        statement="Bayesian optimisation needs less energy than grid and random search until it gets there.",
        estimand="joules to the target, ratio, geometric mean over pairs of which one arrives",
        units="pairs of searches",
        side="below",
        threshold=0.9,
        reason="A tenth is the least saving worth another tool.",
    ),
    "1c bayesian total energy": Claim(
        statement="A whole Bayesian search takes less energy than a grid or random search of as many trials.",
        estimand="joules of a search, ratio, geometric mean over pairs",
        units="pairs of searches",
        side="below",
        threshold=0.9,
        reason="A tenth is the least saving worth another tool.",
    ),
    "2 bayesian overhead": Claim(
        statement="What the Bayesian tuner itself consumes does not eat what it saves.",
        estimand="joules to the target with the tuner's own, ratio, geometric mean over pairs of which one arrives",
        units="pairs of searches",
        side="below",
        threshold=1.0,
        reason="Break-even.",
    ),
    "3a convolution over linear": _dearer_convolution(
        "Convolutional layers cost the most by a strong margin; linear layers cost far less.", "linear"
    ),
    "3b convolution over relu": _dearer_convolution(
        "Convolutional layers cost the most by a strong margin; ReLU layers cost far less.", "ReLU"
    ),
    "4a diminishing between networks": Claim(
        statement="More energy-hungry networks buy diminishing accuracy.",
        estimand="accuracy a joule of added convolutions over accuracy above chance a joule without them",
        units="configurations",
        side="below",
        threshold=0.5,
        reason="Returns have diminished when the next joule buys less than half of what those before it bought.",
    ),
    "4b diminishing within a search": Claim(
        statement="More energy spent on tuning buys diminishing accuracy.",
        estimand="accuracy added by the second half of a search's joules over that above chance by the first",
        units="searches",
        side="below",
        threshold=0.5,
        reason="Returns have diminished when the next joule buys less than half of what those before it bought.",
    ),
    "4c diminishing along a ladder": Claim(
        statement="Longer training and larger networks buy diminishing accuracy.",
        estimand="AICc of a straight line less that of a saturating curve, accuracy against joules of a training",
        units="repetitions of the ladder",
        side="above",
        threshold=0.0,
        reason="Above 0 the curve explains more than its further parameter costs.",
    ),
    "5a halving energy": Claim(
        statement="Reducing the network halves the energy of a training.",
        estimand="joules of the smallest network over those of the largest",
        units="configurations",
        side="below",
        threshold=0.5,
        reason="Half, as claimed.",
    ),
    "5b halving accuracy": Claim(
        statement="Reducing the network costs little accuracy.",
        estimand="accuracy that the smallest network loses against the largest, percentage points",
        units="configurations",
        side="below",
        threshold=1.0,
        reason="A percentage point is what a reader of an accuracy table would notice.",
        about_energy=False,
    ),
    "6a hyperparameters within a search": Claim(
        statement="Hyperparameters other than the network barely move the energy of a training: within a search.",
        estimand="coefficient of variation of a training's energy within a search, percent, median over searches",
        units="searches",
        side="below",
        threshold=5.0,
        reason="A twentieth is less than any choice of network makes. Noise and drift of the machine are in it too.",
        upper_bound=True,
    ),
    "6b hyperparameters between configurations": Claim(
        statement="Hyperparameters other than the network barely move the energy of a training: in the layer study.",
        estimand="standard deviation between configurations of a network, noise taken out, percent, mean over networks",
        units="configurations",
        side="below",
        threshold=5.0,
        reason="A twentieth is less than any choice of network makes.",
    ),
    "6c hyperparameters trained alone": Claim(
        statement="Hyperparameters other than the network barely move the energy of a training: at random, each alone.",
        estimand="coefficient of variation of the energy of random configurations, each trained alone, percent",
        units="configurations",
        side="below",
        threshold=5.0,
        reason="A twentieth is less than any choice of network makes. Noise and drift of the machine are in it too.",
        upper_bound=True,
    ),
}
"""What the paper claims, by a short name."""

DEFECTS: Mapping[str, Claim] = {
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
    "d05 every batch and loss copied": Claim(
        statement="The joules do not hang on copying every batch to the device and every loss back.",
        estimand="joules of a training with the fault more than without, percent, same configurations and seeds",
        units="configurations",
        side="within",
        threshold=5.0,
        reason="A twentieth is less than any choice of network makes.",
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
    "d10 relu confounded with configurations": _dearer_convolution(
        "Convolutions cost far more than ReLU layers when both are compared on the same configurations.", "ReLU"
    ),
    "d11 trainings taken for independent": _dearer_convolution(
        "Convolutions cost far more than linear layers when the configuration is the replicate.", "linear"
    ),
    "d12 power sampled ten times a second": Claim(
        statement="The joules do not hang on sampling power with nvidia-smi instead of reading the energy counter.",
        estimand="sampled joules more than counted ones, percent",
        units="windows",
        side="within",
        threshold=5.0,
        reason="A twentieth is less than any choice of network makes.",
    ),
}
"""The faults of the published code: does what was claimed survive when each is mended?"""


def verdict(claim: Claim, effect: Effect, estimated: bool = False) -> str:
    """Judge a claim by its rule.

    Args:
        claim: The claim.
        effect: The number that decides, with its interval; `claim_effects.NOTHING` where the evidence does not hold it.
        estimated: Whether joules behind the effect are an estimate, or imputed.

    Raises:
        InputError: It is no claim, no effect, or the ends of its interval are in the wrong order.
    """
    check_type("what is judged", claim, Claim, "take one of CLAIMS or DEFECTS")
    check_type("what it is judged by", effect, Effect, "pass what claim_effects gives, or NOTHING")
    if effect.low > effect.high:
        got = f"[{effect.low:g}, {effect.high:g}]"
        raise InputError("an interval has its lower end first", got, "exchange the ends")
    if np.isnan(effect.estimate):
        return NOT_TESTABLE
    if np.isnan(effect.low) or np.isnan(effect.high):
        return UNDECIDED
    limit = claim.threshold
    holds = {
        "above": effect.low > limit,
        "below": effect.high < limit,
        "within": -limit < effect.low and effect.high < limit,
    }[claim.side]
    fails = {
        "above": effect.high < limit,
        "below": effect.low > limit,
        "within": effect.low > limit or effect.high < -limit,
    }[claim.side]
    if holds:
        return SUPPORTED_ESTIMATE if claim.about_energy and estimated else SUPPORTED
    return NOT_SUPPORTED if fails and not claim.upper_bound else UNDECIDED


def conclude(table: pd.DataFrame) -> pd.DataFrame:
    """One verdict for each claim and body of evidence, from all its rows.

    A claim is said of every data set, opponent and target, so it is supported only where all of its rows are; it is not
    supported where a single row is not; otherwise it is undecided. Rows of pooled data sets (`all`) take no part where
    the data sets have rows of their own.

    Args:
        table: What `claim_evidence.judge` returns, of one or more bodies of evidence.

    Returns:
        claim, statement, evidence, verdict, rows, supported (rows that support it).

    Raises:
        InputError: A column is missing, or there are no rows.
    """
    require_columns(table, COLUMNS)
    statements = {name: claim.statement for name, claim in (*CLAIMS.items(), *DEFECTS.items())}
    rows = []
    for (name, evidence), part in table.groupby(["claim", "evidence"], sort=False):
        own = part[part["dataset"] != "all"]
        verdicts = (own if len(own) else part)["verdict"]
        supported = verdicts.isin([SUPPORTED, SUPPORTED_ESTIMATE])
        if (verdicts == NOT_TESTABLE).all():
            overall = NOT_TESTABLE
        elif (verdicts == NOT_SUPPORTED).any():
            overall = NOT_SUPPORTED
        elif supported.all():
            overall = SUPPORTED if (verdicts == SUPPORTED).all() else SUPPORTED_ESTIMATE
        else:
            overall = UNDECIDED
        rows.append([name, statements[str(name)], evidence, overall, len(verdicts), int(supported.sum())])
    return pd.DataFrame(rows, columns=["claim", "statement", "evidence", "verdict", "rows", "supported"])
