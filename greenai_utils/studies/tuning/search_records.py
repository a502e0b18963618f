"""What the records of searches say: scores, joules charged, and what is left of their budgets."""

from collections.abc import Iterable, Mapping

from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.search.budgets import Spent
from greenai_utils.studies.tuning.plan import PlannedSearch, make_planned_strategy, plan_searches


def recorded_searches(records: Iterable[Record]) -> dict[str, dict[int, Record]]:
    """The recorded trials of every search, by its identity and the trial's place in it."""
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        if place := record.get("search"):
            found.setdefault(place["id"], {})[place["trial"]] = record
    return found


def charged_j(record: Record) -> float | None:
    """The joules that a trial is charged: read over it alone, or imputed to it."""
    joules: float | None = record["training"]["gross_j"]
    return record.get("imputed_j") if joules is None else joules


def score(record: Record) -> float:
    """What a strategy is told: the accuracy that its protocol chooses by; a diverged training classifies nothing."""
    if record["status"] == "diverged":
        return 0.0
    held_out = record["trial"]["protocol"]["hold_out_validation"]
    return float(record["validation_accuracy"] if held_out else record["test_accuracy"])


def spent_by(records: Iterable[Record]) -> Spent:
    """What trials of one search have spent, whoever trained them and when: joules as charged, seconds of their windows.

    Raises:
        InputError: Their joules come from different sources or boundaries.
    """
    rows = list(records)
    places = [record["search"] for record in rows]
    return Spent.of(
        ({**record["training"], "gross_j": charged_j(record)} for record in rows),
        (place.get("fidelity", 1.0) - place.get("start", 0.0) for place in places),
    )


def budget_reached(profile: Profile, records: Iterable[Record]) -> bool:
    """Whether the trials of a search so far have spent its budget of joules or seconds.

    Its budget of trials is in the plan of its strategy.
    """
    budget = profile.tuning.budget
    if budget.joules is None and budget.seconds is None:
        return False
    return budget.reached(spent_by(records)) is not None


def count_search(profile: Profile, plan: PlannedSearch, recorded: Mapping[int, Record]) -> tuple[int, int]:
    """How many trials a search lacks and needs; one that has spent its budget needs no more than it has."""
    in_order = [recorded[trial] for trial in range(len(recorded)) if trial in recorded]
    if len(in_order) == len(recorded) > 0 and budget_reached(profile, in_order):
        return 0, len(recorded)
    needed = make_planned_strategy(profile, plan).planned_trials
    return needed - len(recorded), needed


def count_searches(profile: Profile, store: Store) -> tuple[int, int]:
    """How many trials all searches lack and need."""
    recorded = recorded_searches(store)
    counts = [count_search(profile, search, recorded.get(search.identity, {})) for search in plan_searches(profile)]
    return sum(missing for missing, _ in counts), sum(needed for _, needed in counts)
