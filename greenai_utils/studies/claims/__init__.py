"""Chapter 6: which claims of the paper survive."""

from greenai_utils.recording.study import FigureSpec, Study

HERE = "greenai_utils.studies.claims"

STUDY = Study(
    "claims",
    "06-claims",
    tables={
        "claims": f"{HERE}.tables:claims_table",
        "claim_verdicts": f"{HERE}.tables:verdicts_table",
    },
    figures={
        "06-claims": FigureSpec(
            f"{HERE}.figures:claims_by_evidence",
            ("claim_verdicts",),
            "Every claim of the paper, judged by the same rule on each body of evidence. One that holds in a single "
            "column holds on that machine only.",
            "A table of coloured cells: a row for each claim, a column for each body of evidence, the verdict in "
            "every cell.",
            f"{HERE}.figures:evidence_note",
        ),
        "06-defects": FigureSpec(
            f"{HERE}.figures:defects_by_evidence",
            ("claim_verdicts",),
            "Do the results survive when a fault of the published code is mended? Not supported: that fault changes "
            "them, or the claim fails without it.",
            "A table of coloured cells: a row for each fault of the published code, a column for each body of "
            "evidence, the verdict in every cell.",
            f"{HERE}.figures:evidence_note",
        ),
    },
)
