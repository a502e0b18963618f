"""Sentences about the tuning study: prose whose every number is computed from the records."""

import numpy as np
import pandas as pd

from greenai_utils.studies.study_data import StudyData
from greenai_utils.studies.tuning.figures import FAULTS
from greenai_utils.studies.tuning.protocol_effects import tuning_protocol_effects
from greenai_utils.studies.tuning.tables import (
    BASELINE,
    CELLS_TO_RANK,
    costly_cell,
    main_cell,
    nearest_target,
    tuning_alone,
    tuning_costs,
    tuning_energy_to_target,
    tuning_pairwise,
    tuning_ranks,
    tuning_summary,
)

SIGNIFICANT = 0.05
"""Below this p value, after Holm's correction, two strategies count as different in the sentences."""


def joules_of_searches(data: StudyData) -> str:
    """How the joules of the searches came about."""
    table = main_cell(data, tuning_costs(data))
    trials, read = table["trials"].sum(), table["read_trials"].sum()
    if read == trials:
        return f"The joules of all {trials} trainings were taken over that training alone; none is imputed."
    share = table["unread_j"].sum() / table["total_j"].sum()
    spent = table["spent_j"].sum(skipna=False)
    return (
        f"{trials - read} of {trials} trainings ran many at once, so that their joules could not be read one by one. "
        f"They are charged what such a training takes alone, measured on a sample: {100 * share:.0f} % of the joules "
        "below are *imputed* in this way. They make searches comparable; no claim about what moves a training's energy "
        "rests on them."
        + ("" if np.isnan(spent) else f" What the machine really spent is {spent:.3g} J.")
        + trained_alone(data)
    )


def trained_alone(data: StudyData) -> str:
    """What the sample of trainings alone says of the joules that are imputed."""
    table = main_cell(data, tuning_alone(data).assign(protocol=data.profile.tuning.task.protocol))
    whole = table[(table["start"] == 0) & (table["fidelity"] == 1)]
    if whole.empty:
        return ""
    one = whole.iloc[0]
    said = (
        f" The sample: {one['n']} random configurations, each trained alone, took {one['mean_j']:.3g} J on average, "
        f"with a standard deviation of {one['sd_j']:.2g} J ({one['cv_pct']:.1f} %)."
    )
    if np.isnan(one["share_j"]):
        return said
    return (
        f"{said} A member of a population of {one['members']:.0f} took {one['share_j']:.3g} J of its group's joules: "
        f"{one['mean_j'] / one['share_j']:.1f} times less."
    )


def energy_to_target(data: StudyData) -> str:
    """Who reaches the target for the fewest joules, and for whom that is more than luck."""
    table = main_cell(data, tuning_energy_to_target(data))
    table = table[np.isclose(table["target"], nearest_target(data))].sort_values("restricted_mean_j")
    first = table.iloc[0]
    lines = [
        f"The target is a validation accuracy of {first['target_accuracy']:.4f}, {100 * first['target']:.0f} % of the "
        f"best that any search reached. **{first['strategy']}** gets there for the fewest joules: {_joules(first)} on "
        f"average, counting at most {first['horizon_j']:.3g} J a search, and in {100 * first['success_rate']:.0f} % of "
        f"its {first['searches']} searches."
    ]
    compared = table.dropna(subset=["saved_j", "saved_low_j", "saved_high_j"])
    if len(compared):
        cheaper, dearer = compared[compared["saved_low_j"] > 0], compared[compared["saved_high_j"] < 0]
        rest = len(compared) - len(cheaper) - len(dearer)
        lines.append(
            f"Against {BASELINE} search, the interval of the difference leaves zero out for "
            f"{_listed(cheaper['strategy'])} (cheaper) and for {_listed(dearer['strategy'])} (dearer); for {rest} of "
            f"{len(compared)} strategies these searches cannot tell."
        )
    return "\n\n".join(lines)


def energy_aware(data: StudyData) -> str:
    """What weighing joules brings where hyperparameters decide how much work a training is."""
    table = costly_cell(data, tuning_energy_to_target(data))
    table = table[np.isclose(table["target"], nearest_target(data))].sort_values("restricted_mean_j")
    if table.empty:
        return "This profile searches no space that tunes how much work a training is."
    costs = costly_cell(data, tuning_costs(data)).set_index("strategy")
    lines = []
    for row in table.to_dict("records"):
        cost = costs.loc[row["strategy"]]
        line = (
            f"- `{row['strategy']}`: {_joules(pd.Series(row))} to an accuracy of {row['target_accuracy']:.4f} on "
            f"average, reached by {100 * row['success_rate']:.0f} % of {row['searches']} searches; a training took "
            f"{cost['total_j'] / cost['trials']:.2g} J."
        )
        if not np.isnan(row["saved_low_j"]):
            clear = "" if row["saved_low_j"] > 0 or row["saved_high_j"] < 0 else ", not clear of zero"
            line += (
                f" Against {BASELINE} search it saves {row['saved_j']:.3g} J ({row['saved_low_j']:.3g} to "
                f"{row['saved_high_j']:.3g} J{clear})."
            )
        lines.append(line)
    return "\n".join(lines)


def pairs(data: StudyData) -> str:
    """How many pairs of strategies differ, and in what."""
    table = main_cell(data, tuning_pairwise(data))
    if table.empty:
        return "With one strategy, or one search of each, there is nothing to compare."
    words = {
        "best_score": "in the best validation accuracy",
        "test_accuracy": "in the test accuracy of the configuration they chose",
        "energy_to_target_j": "in the joules to the target",
    }
    lines = []
    for quantity, where in words.items():
        part = table[table["compared"] == quantity]
        clear = part[part["p_holm"] < SIGNIFICANT]
        line = f"- {where}: {len(clear)} of {len(part)} pairs differ (Holm p < {SIGNIFICANT})"
        if len(clear):
            widest = clear.iloc[int((clear["a12"] - 0.5).abs().to_numpy().argmax())]
            above = widest["a12"] > 0.5
            names = (widest["a"], widest["b"]) if above == widest["more_is_better"] else (widest["b"], widest["a"])
            share = max(widest["a12"], 1 - widest["a12"])
            line += f"; the clearest: `{names[0]}` beats `{names[1]}` with probability {share:.2f}"
        lines.append(line + ".")
    ranks = tuning_ranks(data, "best_score")
    if ranks is None:
        lines.append(
            f"- Ranks over cells need {CELLS_TO_RANK} cells (data set, network, space) or more; this profile has "
            "fewer, so that what holds here may not hold elsewhere."
        )
    else:
        best = ranks.ranks.iloc[0]
        lines.append(
            f"- Over {ranks.blocks} cells Friedman's test gives χ² = {ranks.chi_sq:.1f} (p = {ranks.p:.2g}); "
            f"`{best['strategy']}` has the best mean rank, {best['mean_rank']:.2f}, and mean ranks closer than "
            f"{ranks.critical_difference:.2f} are not told apart."
        )
    return "\n".join(lines)


def costs(data: StudyData) -> str:
    """What searching cost beside training."""
    table = main_cell(data, tuning_costs(data))
    per_search = table["total_j"] / table["searches"]
    wasted = table["wasted_j"].sum() / table["total_j"].sum()
    lines = [
        f"A search's trainings took {per_search.min():.3g} to {per_search.max():.3g} J, by strategy; "
        f"{100 * wasted:.1f} % of all joules went into {table['diverged'].sum()} trainings that diverged."
    ]
    if table["idle_j"].notna().any():
        idle = table["idle_j"].sum()
        lines.append(f"Idle power is in these joules: {idle:.3g} J within the finished trainings that were read.")
    else:
        lines.append("Idle power lies outside this estimate's model.")
    tuner = table.dropna(subset=["tuner_j"])
    if len(tuner):
        each = (tuner["tuner_j"] / tuner["trials"]).set_axis(tuner["strategy"]).sort_values()
        sources = ", ".join(sorted(map(str, tuner["tuner_source"].unique())))
        lines.append(
            f"Proposing a configuration took from {each.iloc[0]:.2g} J (`{each.index[0]}`) to {each.iloc[-1]:.2g} J "
            f"(`{each.index[-1]}`), source: {sources}."
            + (
                ""
                if sources == data.source
                else f" That is not the source of the trainings' joules ({data.source}), so that the two do not add up."
            )
        )
    return " ".join(lines)


def what_users_get(data: StudyData) -> str:
    """How far the accuracy that a search reports holds."""
    table = main_cell(data, tuning_summary(data))
    gap = table["best_validation_accuracy"] - table["test_accuracy"]
    line = (
        f"Over all searches the configuration chosen by validation accuracy has a test accuracy "
        f"{100 * gap.mean():.2f} percentage points below it on average."
    )
    effects = tuning_protocol_effects(data)
    inflated = effects[effects["quantity"] == "reported_accuracy"].sort_values("difference")
    if inflated.empty:
        return line
    low, high = inflated.iloc[0], inflated.iloc[-1]
    return (
        f"{line} Had the same trainings been chosen by *test* accuracy, as the published study did, the reported test "
        f"accuracy would be {100 * low['difference']:.2f} (`{low['strategy']}`) to {100 * high['difference']:.2f} "
        f"(`{high['strategy']}`) percentage points higher, for networks no better."
    )


def protocol_effects(data: StudyData) -> str:
    """What each fault of the published protocol changes."""
    table = tuning_protocol_effects(data)
    faults = table[table["over"] == "configurations"]
    lines = []
    if faults.empty:
        lines.append("No trainings under other protocols are recorded in this profile.")
    for name, part in faults.groupby("contrast"):
        rows = {(row["quantity"], row["unit"]): row for row in part.to_dict("records")}
        said = []
        for key, unit, factor in (
            (("test_accuracy", "share"), "points of test accuracy", 100),
            (("gross_j", "ratio"), "% of a training's energy", 100),
        ):
            if key in rows:
                row = rows[key]
                low, middle, high = (factor * row[column] for column in ("ci_low", "difference", "ci_high"))
                clear = "" if low > 0 or high < 0 else ", not clear of zero"
                said.append(f"{middle:+.2f} {unit} ({low:+.2f} to {high:+.2f}{clear})")
        lines.append(f"- **{FAULTS.get(str(name), name)}**: {'; '.join(said)}.")
    spaces = table[table["quantity"] == "best_score"]
    for row in spaces.to_dict("records"):
        low, middle, high = (100 * row[column] for column in ("ci_low", "difference", "ci_high"))
        lines.append(
            f"- **{row['contrast']}**, against {row['baseline']}, `{row['strategy']}` search: {middle:+.2f} points of "
            f"the best accuracy ({low:+.2f} to {high:+.2f})."
        )
    return "\n".join(lines)


def _joules(row: pd.Series) -> str:
    return f"{row['restricted_mean_j']:.3g} J ({row['ci_low_j']:.3g} to {row['ci_high_j']:.3g} J)"


def _listed(names: pd.Series) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
