"""Sentences about greener training; every number is computed from the records."""

import numpy as np

from greenai_utils.studies.recipes.plan import LABELS, make_recipe
from greenai_utils.studies.recipes.tables import (
    JOULES_A_KWH,
    PUBLISHED_LOOP,
    break_even_table,
    compendium_cost,
    levers_table,
    waterfall_table,
)
from greenai_utils.studies.study_data import StudyData


def design(data: StudyData) -> str:
    """What was held against what."""
    settings = data.profile.levers
    base, retuned = make_recipe(settings, ()), make_recipe(settings, ("batch_size",))
    cycle = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    return (
        f"The published loop trains `{settings.task.network}` on {settings.task.dataset} for {base.epochs} epochs in "
        f"batches of {base.batch_size} at a learning rate of {base.rates[0]:g}; a training counts if it ends at a "
        f"validation accuracy of {settings.target:g} or more. The larger batch has {retuned.batch_size} images; one "
        f"cycle lasts {cycle}; the part of the data is {100 * settings.train_share:.0f} %; {settings.members} networks "
        f"train at once. Where batch or schedule change, {len(settings.rate_factors)} learning rates "
        f"({', '.join(f'{rate:g}' for rate in settings.rates)}) are tried in trainings of their own, and the one with "
        "the best validation accuracy is used: those trainings are the lever's preparation."
    )


def levers(data: StudyData) -> str:
    """Which lever is worth it, and by how much."""
    table = levers_table(data)
    alone = table[table["pulled"] == 1]
    base = table[table["levers"] == PUBLISHED_LOOP].iloc[0]
    lines = [
        f"The published loop needs {base['joules_to_target_j']:.3g} J to a network of the target accuracy; "
        f"{100 * base['reached_share']:.0f} % of its {base['trainings']:.0f} trainings end there."
        if base["blocks"] and np.isfinite(base["joules_to_target_j"])
        else "The published loop never reached the target, so that nothing can be saved against it."
    ]
    for verdict, meaning in (
        ("saves", "fewer joules than the published loop, with an interval below 1"),
        ("undecided", "no clear difference"),
        ("costs more", "more joules, with an interval above 1"),
    ):
        own = alone[alone["verdict"] == verdict].sort_values("saved", ascending=False)
        if len(own):
            named = "; ".join(f"{LABELS[row['levers']]} {_saved(row)}" for _, row in own.iterrows())
            lines.append(f"- **{meaning}**: {named}.")
    missing = alone[alone["verdict"] == "misses the target"]
    if len(missing):
        lines.append(f"- **never at the target**: {', '.join(LABELS[name] for name in missing['levers'])}.")
    stopped = alone[(alone["levers"] == "early_stopping") & (alone["blocks"] > 0)]
    lines += [
        f"- Networks that stopped early have a test accuracy of {row.test_accuracy:.3f} on average, those of the "
        f"published loop {base['test_accuracy']:.3f}."
        for row in stopped.itertuples()
        if np.isfinite([row.test_accuracy, base["test_accuracy"]]).all()
    ]
    gaps = alone[alone["verdict"] == "not measured"]
    lines += [f"- **gap, not measured**: {LABELS[row['levers']]}: {row['reason']}." for _, row in gaps.iterrows()]
    return "\n".join([lines[0], "", *lines[1:]])


def together(data: StudyData) -> str:
    """What all levers of the profile save together, and what the last ones added."""
    table = waterfall_table(data)
    known = table.dropna(subset=["of_published"])
    if len(known) < 2:
        return "The published loop or everything after it misses the target, so that there are no steps to compare."
    best = known.loc[known["of_published"].idxmin()]
    steps = known.iloc[1:]
    helped = ", ".join(LABELS[name] for name in steps.loc[steps["of_before_high"] < 1, "lever"]) or "none"
    return (
        f"From the published loop to *{LABELS[best['lever']]}*, joules to the target fall to "
        f"{100 * best['of_published']:.1f} % ({_times(best['of_published'])} less; 95 % interval "
        f"{100 * best['of_published_low']:.1f} to {100 * best['of_published_high']:.1f} %). Steps that lower them "
        f"with an interval below 1, each on top of those before: {helped}."
    )


def break_even(data: StudyData) -> str:
    """When what is paid beforehand pays."""
    table = break_even_table(data)
    if not len(table):
        return "No lever that costs something beforehand was measured."
    lines = []
    for row in table.itertuples():
        name = " + ".join(LABELS[part] for part in row.levers.split("+"))
        if np.isfinite(row.trainings):
            high = f"{row.trainings_high:.1f}" if np.isfinite(row.trainings_high) else "never"
            interval = (
                f" (95 % interval {row.trainings_low:.1f} to {high})"
                if np.isfinite(row.trainings_low)
                else ", from a single block"
            )
            lines.append(
                f"- **{name}**: {row.preparation_j:.3g} J beforehand are worth what {row.trainings:.1f} networks at "
                f"the target save{interval}."
            )
        elif np.isfinite(row.saved_j):
            lines.append(f"- **{name}**: {row.preparation_j:.3g} J beforehand never pay, as nothing is saved after.")
        else:
            missed = "it" if np.isnan(row.network_j) else "the published loop"
            lines.append(
                f"- **{name}**: whether {row.preparation_j:.3g} J beforehand pay cannot be said, as {missed} never "
                "reached the target."
            )
    return "\n".join(lines)


def compendium(data: StudyData) -> str:
    """What this profile spent, beside what the authors spent."""
    table = compendium_cost(data)
    own = table[(table["whose"] == "profile") & (table["study"] == "all")]
    spent = " and ".join(
        f"{row.energy_j:,.0f} J ({row.energy_kwh:.2g} kWh) "
        + ("by the estimate" if row.source == "estimate" else f"read from {row.source}")
        + f" over {row.boundary}"
        for row in own.itertuples()
    )
    said = f"All recorded measurements of profile `{data.profile.name}` took {spent}."
    theirs = table[(table["whose"] == "authors") & (table["study"] == "all")]
    if not len(theirs):
        return f"{said} The authors' data are not here to be held beside it. {data.gap}"
    row = theirs.iloc[0]
    largest = own["energy_j"].max()
    orders = np.log10(row["energy_j"] / largest)
    return (
        f"{said} The authors' studies took {row['energy_kwh']:.1f} kWh ({row['energy_kwh'] * JOULES_A_KWH:,.0f} J), "
        f"read through {row['source']} over {row['boundary']} for {row['measurements']:,} trainings. These are two "
        f"quantities: another device, another boundary, other data and sizes"
        + (", and one of them is a model" if "estimate" in set(own["source"]) else "")
        + f". No ratio of them means anything; but they lie {orders:.0f} orders of magnitude apart."
    )


def _saved(row: object) -> str:
    """Joules to the target as a multiple of the published loop's."""
    value, high, low = (1 - row[name] for name in ("saved", "saved_low", "saved_high"))  # type: ignore[index]
    if not np.isfinite(value):
        return "(not comparable)"
    interval = f"{low:.2g} to {high:.2g}" if np.isfinite([low, high]).all() else "no interval from so few blocks"
    return f"{value:.2g} times ({interval})"


def _times(share: float) -> str:
    return f"{1 / share:.1f} times"
