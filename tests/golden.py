"""Everything that a profile's records are found by, as a table of plain data; `python tests/golden.py` writes it anew.

Only a change that means to change keys does so, in a commit of its own: what is recorded under a key is never trained
again, so that another key leaves records behind.
"""

import json
import sys
from pathlib import Path
from typing import Any

from greenai_utils.recording.planning import make_trial
from greenai_utils.recording.profile import profile_names, settings_sha256
from greenai_utils.studies import all_series, load_profile
from greenai_utils.studies.tuning.plan import make_planned_strategy, plan_searches

GOLDEN = Path(__file__).parent / "golden_keys.json"


def planned(name: str) -> dict[str, Any]:
    """What a profile plans.

    Returns:
        `settings` (the hash of those that records depend on), `studies` (the keys of each, in order) and `searches`
        (identity and the key of the first trial that each proposes).
    """
    profile = load_profile(name)
    studies = {series.name: series.keys(profile) for series in all_series() if series.name != "tuning"}
    searches = {}
    for search in plan_searches(profile):
        first = make_planned_strategy(profile, search).ask().configuration
        searches[search.identity] = make_trial(search.task, first, **search.own_fields(0)).key
    return {"settings": settings_sha256(profile), "studies": studies, "searches": searches}


def main() -> None:
    """Print the golden keys of all profiles, or write them where the tests read them."""
    content = json.dumps({name: planned(name) for name in profile_names()}, indent=0) + "\n"
    if "--print" in sys.argv:
        print(content, end="")
    else:
        GOLDEN.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
