"""Sentences about the verdicts; every number is computed from the evidence at hand."""

from collections.abc import Iterable

import pandas as pd

from greenai_utils.studies.claims.claims import CLAIMS, NOT_TESTABLE, RULES, VERDICTS, decisive, shown_evidence


def rules(claims: Iterable[str] = tuple(CLAIMS)) -> str:
    """The rule of each claim, as a table.

    Args:
        claims: Which, by name.
    """
    lines = ["| claim | the number that decides | interval over | to lie | why this much |", "|---|---|---|---|---|"]
    for name in claims:
        claim = RULES[name]
        lines.append(
            f"| {name} | {claim.estimand} | {claim.units} | {claim.side} {claim.threshold:g} | {claim.reason} |"
        )
    return "\n".join(lines)


def evidence(verdicts: pd.DataFrame) -> str:
    """What the verdicts rest on, what its joules are worth, and what is missing.

    Args:
        verdicts: The table `claim_verdicts`.
    """
    lines = []
    for kind, part in verdicts.groupby("evidence", sort=False):
        testable, first = (part["verdict"] != NOT_TESTABLE).sum(), part.iloc[0]
        worth = {"estimate": "an estimate", "nvidia-smi": "made of power sampled through `nvidia-smi`"}
        joules = worth.get(first["source"], f"read from a counter (`{first['source']}`)")
        said = (
            f"joules are {joules}, over the boundary `{first['boundary']}`; {testable} of {len(part)} lines below rest"
        )
        lines.append(
            f"- **{shown_evidence(str(kind))}**: "
            + (f"{said} on it." if testable else "not at hand, so that nothing can be tested on it.")
        )
    return "\n".join(lines)


def count(verdicts: pd.DataFrame, claims: Iterable[str] = tuple(CLAIMS)) -> str:
    """How many claims got which verdict.

    Args:
        verdicts: The table `claim_verdicts`.
        claims: Which, by name.
    """
    lines = []
    for kind, part in verdicts[verdicts["claim"].isin(list(claims))].groupby("evidence", sort=False):
        counted = part["verdict"].value_counts()
        said = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS if verdict in counted)
        lines.append(f"- {shown_evidence(str(kind))}: of {len(part)} claims {said}")
    return "\n".join(lines)


def numbers_behind(numbers: pd.DataFrame, verdicts: pd.DataFrame, claims: Iterable[str] = tuple(CLAIMS)) -> str:
    """What is claimed, the verdict by each body of evidence, and the range of the numbers that decide it.

    Args:
        numbers: The table `claims`.
        verdicts: The table `claim_verdicts`.
        claims: Which, by name.
    """
    lines = []
    for name in claims:
        rule = RULES[name]
        lines.append(f"- **{name}.** {rule.statement}")
        for row in verdicts[verdicts["claim"] == name].itertuples():
            kind = shown_evidence(str(row.evidence))
            if row.verdict == NOT_TESTABLE:
                lines.append(f"  - {kind}: {NOT_TESTABLE}")
                continue
            own = decisive(numbers[(numbers["claim"] == name) & (numbers["evidence"] == row.evidence)])["effect"]
            span = f"effect {own.min():.3g}" if len(own) == 1 else f"effects {own.min():.3g} to {own.max():.3g}"
            lines.append(
                f"  - {kind}: **{row.verdict}** ({row.supported} of {row.rows} numbers support it; {span}, to lie "
                f"{rule.side} {rule.threshold:g})"
            )
    return "\n".join(lines)
