"""Sentences about the verdicts; every number is computed from the evidence at hand."""

from collections.abc import Iterable

from greenai_utils.studies.claims.claims import CLAIMS, DEFECTS, NOT_TESTABLE, VERDICTS, Claim
from greenai_utils.studies.claims.tables import claims_table, verdicts_table
from greenai_utils.studies.study_data import StudyData


def rules(_: StudyData) -> str:
    """The rule of each claim."""
    lines = ["| claim | the number that decides | interval over | to lie | why this much |", "|---|---|---|---|---|"]
    for name, claim in CLAIMS.items():
        rule = f"{claim.side} {claim.threshold:g}"
        lines.append(f"| {name} | {claim.estimand} | {claim.units} | {rule} | {claim.reason} |")
    return "\n".join(lines)


def evidence(data: StudyData) -> str:
    """What the verdicts rest on, and what is missing."""
    worth = "an estimate" if data.source == "estimate" else f"read from a counter (`{data.source}`)"
    lines = [
        f"- **this profile**: {len(data.trials):,} recorded trainings; their joules are {worth}.",
        f"- **the authors' data**: a gap. {data.gap} Until then no claim can be tested on them."
        if data.gap
        else f"- **the authors' data**: {len(data.published.tuning):,} trials and {len(data.published.layers):,} "
        "trainings; their joules were sampled through nvidia-smi.",
    ]
    shipped = verdicts_table(data).query("evidence.str.startswith('recorded')").drop_duplicates("evidence")
    names = [
        f"`{row.evidence.removeprefix('recorded ')}`, whose joules are "
        + ("an estimate" if row.source == "estimate" else f"read from a counter (`{row.source}`)")
        for row in shipped.itertuples()
    ]
    lines.append(
        "- **recorded elsewhere**, profiles that ship with the repository: "
        + ("; ".join(names) if names else "none besides this one, so that nothing is judged on them")
        + "."
    )
    return "\n".join(lines)


def claims(data: StudyData) -> str:
    """Every claim, its verdicts and the numbers behind them."""
    return _lines(data, CLAIMS)


def defects(data: StudyData) -> str:
    """Every fault of the published code, and whether what was claimed survives when it is mended."""
    return _lines(data, DEFECTS)


def count(data: StudyData) -> str:
    """How many claims got which verdict."""
    table = verdicts_table(data)
    own = table[table["claim"].isin(list(CLAIMS))]
    lines = []
    for kind, part in own.groupby("evidence", sort=False):
        counted = part["verdict"].value_counts()
        said = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS if verdict in counted)
        lines.append(f"- {kind}: of {len(part)} claims {said}")
    return "\n".join(lines)


def _lines(data: StudyData, chosen: Iterable[str]) -> str:
    table, verdicts = claims_table(data), verdicts_table(data)
    known: dict[str, Claim] = {**CLAIMS, **DEFECTS}
    lines = []
    for name in chosen:
        lines.append(f"- **{name}.** {known[name].statement}")
        for row in verdicts[verdicts["claim"] == name].itertuples():
            numbers = table[(table["claim"] == name) & (table["evidence"] == row.evidence)]
            if row.verdict == NOT_TESTABLE:
                lines.append(f"  - {row.evidence}: {NOT_TESTABLE}")
                continue
            own = numbers[numbers["dataset"] != "all"]  # pooled data sets decide only where there are no others
            decisive = own if len(own) else numbers
            span = f"effect {decisive['effect'].min():.3g}"
            if len(decisive) > 1:
                span = f"effects {decisive['effect'].min():.3g} to {decisive['effect'].max():.3g}"
            lines.append(
                f"  - {row.evidence}: **{row.verdict}** ({row.supported} of {row.rows} numbers support it; "
                f"{span}, to lie {known[name].side} {known[name].threshold:g})"
            )
    return "\n".join(lines)
