"""Sentences about the tuning study, whose every number is computed from tables.

Of several cells (data set, network, space and protocol) they are about the one most searched;
filter a table for another.
"""

import numpy as np
import pandas as pd

from greenai_utils.studies.tuning.cells import BASELINE, SIGNIFICANT, SUMMARY_TARGET, at_target, joules, most_searched

IN_WORDS = {
    "best_score": "in the best validation accuracy",
    "test_accuracy": "in the test accuracy of the configuration they chose",
    "energy_to_target_j": "in the joules to the target",
}


def joules_of_searches(costs: pd.DataFrame) -> str:
    """How the joules of the searches came about.

    Args:
        costs: The table `tuning_costs`.
    """
    table = most_searched(costs)
    trials, read = table["trials"].sum(), table["read_trials"].sum()
    if read == trials:
        return f"The joules of all {trials} trainings were taken over that training alone; none is imputed."
    share = table["unread_j"].sum() / table["total_j"].sum()
    spent = table["spent_j"].sum(skipna=False)
    return (
        f"{trials - read} of {trials} trainings ran many at once, so that their joules could not be read one by one. "
        f"They are charged what such a training takes alone, measured on a sample: {100 * share:.0f} % of the joules "
        "below are *imputed* in this way. They make searches comparable; no claim about what moves a training's energy "
        "rests on them." + ("" if np.isnan(spent) else f" What the machine really spent is {joules(spent)}.")
    )


def cheapest_strategy(energies: pd.DataFrame, target: float = SUMMARY_TARGET) -> str:
    """Who reaches the target for the fewest joules, and for whom that is more than luck.

    Args:
        energies: The table `tuning_energy_to_target`.
        target: A share of the best accuracy; the nearest of the table's is taken.
    """
    table = at_target(energies, target)
    first = table.iloc[0]
    said = (
        f"The target is a validation accuracy of {first['target_accuracy']:.4f}, {100 * first['target']:.0f} % of the "
        f"best that any search reached. **{first['strategy']}** gets there for the fewest joules: {_joules(first)} on "
        f"average, counting at most {joules(first['horizon_j'])} a search, and in {100 * first['success_rate']:.0f} % "
        f"of its {first['searches']} searches."
    )
    compared = table.dropna(subset=["saved_j", "saved_low_j", "saved_high_j"])
    if compared.empty:
        return said
    cheaper, dearer = compared[compared["saved_low_j"] > 0], compared[compared["saved_high_j"] < 0]
    return (
        f"{said}\n\nAgainst {BASELINE} search, the interval of the difference leaves zero out for {_listed(cheaper)} "
        f"(cheaper) and for {_listed(dearer)} (dearer); for {len(compared) - len(cheaper) - len(dearer)} of "
        f"{len(compared)} strategies these searches cannot tell."
    )


def clear_pairs(pairs: pd.DataFrame, significant: float = SIGNIFICANT) -> str:
    """How many pairs of strategies differ, and in what.

    Args:
        pairs: The table `tuning_pairwise`.
        significant: Below this p value after Holm's correction a pair differs.
    """
    if pairs.empty:
        return "With one strategy, or one search of each, there is nothing to compare."
    lines = []
    for quantity, part in most_searched(pairs).groupby("compared", sort=False):
        clear = part[part["p_holm"] < significant]
        line = f"- {IN_WORDS[quantity]}: {len(clear)} of {len(part)} pairs differ (Holm p < {significant})"
        if len(clear):
            widest = clear.loc[(clear["a12"] - 0.5).abs().idxmax()]
            above = widest["a12"] > 0.5
            names = (widest["a"], widest["b"]) if above == widest["more_is_better"] else (widest["b"], widest["a"])
            share = max(widest["a12"], 1 - widest["a12"])
            line += f"; the clearest: `{names[0]}` beats `{names[1]}` with probability {share:.2f}"
        lines.append(f"{line}.")
    return "\n".join(lines)


def what_searches_cost(costs: pd.DataFrame) -> str:
    """What searching cost beside training.

    Args:
        costs: The table `tuning_costs`.
    """
    table = most_searched(costs)
    per_search = table["total_j"] / table["searches"]
    wasted = table["wasted_j"].sum() / table["total_j"].sum()
    each = (table["tuner_j"] / table["trials"]).set_axis(table["strategy"]).dropna().sort_values()
    tuner, own = ", ".join(sorted(table["tuner_source"].dropna().unique())), table["source"].iloc[0]
    if table["idle_j"].notna().any():
        idle = f"Idle power is in these joules: {joules(table['idle_j'].sum())} within the finished trainings read."
    elif own == "estimate":
        idle = "Idle power lies outside this estimate's model."
    else:
        idle = "Idle power is in these joules, which are imputed, and not told apart."
    return (
        f"A search's trainings took {joules(per_search.min())} to {joules(per_search.max())}, by strategy; "
        f"{100 * wasted:.1f} % of all joules went into {table['diverged'].sum()} trainings that diverged. "
        f"{idle} Proposing a configuration took from {each.iloc[0]:.2g} J (`{each.index[0]}`) to {each.iloc[-1]:.2g} J "
        f"(`{each.index[-1]}`), source: {tuner}."
        + (
            ""
            if tuner == own
            else f" That is not the source of the trainings' joules ({own}), so that the two do not add up."
        )
    )


def what_users_get(summary: pd.DataFrame, effects: pd.DataFrame) -> str:
    """How far the accuracy that a search reports holds.

    Args:
        summary: The table `tuning_summary`.
        effects: The table `tuning_protocol_effects`.
    """
    table = most_searched(summary)
    gap = table["best_validation_accuracy"] - table["test_accuracy"]
    line = (
        "Over all searches the configuration chosen by validation accuracy has a test accuracy "
        f"{100 * gap.mean():.2f} percentage points below it on average."
    )
    inflated = effects[effects["quantity"] == "reported_accuracy"].sort_values("difference")
    if inflated.empty:
        return line
    low, high = inflated.iloc[0], inflated.iloc[-1]
    return (
        f"{line} Had the same trainings been chosen by *test* accuracy, as the published study did, the reported test "
        f"accuracy would be {100 * low['difference']:.2f} (`{low['strategy']}`) to {100 * high['difference']:.2f} "
        f"(`{high['strategy']}`) percentage points higher, for networks no better."
    )


def _joules(row: pd.Series) -> str:
    return f"{joules(row['restricted_mean_j'])} ({joules(row['ci_low_j'])} to {joules(row['ci_high_j'])})"


def _listed(strategies: pd.DataFrame) -> str:
    return ", ".join(f"`{name}`" for name in strategies["strategy"]) or "none"
