"""What the shipped tables say hangs on neither the last digits of a machine's arithmetic nor the order of records."""

import json
import math
import random
from collections.abc import Callable
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd
import pytest

from greenai_utils import paths
from greenai_utils.report.outputs import known_tables, make_table
from greenai_utils.report.verify import compare_tables
from greenai_utils.studies import STUDIES, load_profile
from greenai_utils.studies.data import StudyData

SHIPPED = paths.ROOT / "data"
OFFLINE = set(known_tables()) - set(STUDIES["published"].tables)
WRITTEN = [
    (file.parent.parent.name, file.stem) for file in sorted(SHIPPED.glob("*/tables/*.csv")) if file.stem in OFFLINE
]
"""Every table that ships and is computed from records that do, by its profile."""
DEFINED = {"trial", "task", "search", "alone", "schema"}
"""The fields of a record that say what was asked for; all others were measured."""
OWN = {
    "claims": "evidence == 'records'",
    "claim_verdicts": "evidence == 'records'",
    "compendium_cost": "whose == 'profile'",
}
"""Rows of a table that need nothing but this profile's records."""


def nudged(value: Any) -> Any:
    """Every measured number larger or smaller by 1e-12; equal numbers alike, since a tie is no accident of rounding."""
    if isinstance(value, dict):
        other = {name: part if name in DEFINED else nudged(part) for name, part in value.items()}
        if other.get("domains_j"):  # a reading, whose sums must hold
            other["gross_j"] = math.fsum(other["domains_j"].values())
            if other["idle_w"] is not None:
                other["net_j"] = other["gross_j"] - other["idle_w"] * other["duration_s"]
        return other
    if isinstance(value, list):
        return [nudged(part) for part in value]
    if isinstance(value, float):
        return value * (1 + 1e-12 * (1 if crc32(repr(value).encode()) % 2 else -1))
    return value


@pytest.fixture(scope="module")
def disturbed(offline: Path) -> Callable[[str], StudyData]:
    """The records of a profile in another order, with every measured number nudged."""

    @lru_cache
    def read(profile: str) -> StudyData:
        shuffle, folder = random.Random(5), offline / profile
        folder.mkdir()
        for file in sorted((SHIPPED / profile / "records").glob("*.jsonl")):
            records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            shuffle.shuffle(records)
            text = "".join(json.dumps(nudged(record)) + "\n" for record in records)
            (folder / file.name).write_text(text, encoding="utf-8")
        return StudyData.read(load_profile(profile), folder)

    return read


def test_the_tables_of_a_profile_ship() -> None:
    assert {name for profile, name in WRITTEN if profile == "fashion"} >= {"layer_anova", "energy_model", "claims"}


@pytest.mark.parametrize(("profile", "name"), WRITTEN)
def test_a_table_is_the_same_to_the_last_digit_written(
    disturbed: Callable[[str], StudyData], profile: str, name: str, tmp_path: Path
) -> None:
    text = make_table(disturbed(profile), name)
    known = (SHIPPED / profile / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    there, here = (pd.read_csv(StringIO(text), dtype=str, keep_default_na=False) for text in (known, text))
    if name in OWN:
        there, here = there.query(OWN[name]), here.query(OWN[name])
    if name in ("trials", "front_trials"):  # copies of the records, in their order
        measured = list(pd.read_csv(StringIO(text)).select_dtypes("float").columns)
        there, here = (table.drop(columns=measured).sort_values("key") for table in (there, here))
    for file, table in (("there", there), ("here", here)):
        table.to_csv(tmp_path / file, index=False)
    assert len(there)
    assert compare_tables(tmp_path / "there", tmp_path / "here") is None
