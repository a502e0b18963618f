"""Sentences of the notebooks: prose whose every number is computed from the records."""

from greenai_utils.studies.meter import tables as meter_tables
from greenai_utils.studies.meter.tables import meter_repeatability
from greenai_utils.studies.study_data import StudyData


def energy_kind(data: StudyData) -> str:
    """What the joules of a profile are worth."""
    watts = data.profile.meter.watts_per_core
    if data.source == "estimate":
        return (
            f"**The joules of this profile are an estimate**: CPU seconds of the process times {watts:g} W per core, "
            "since no energy counter can be read on the machine that recorded it. The wattage scales all of them "
            "alike; that every CPU second draws equal power is an assumption. Idle power is outside this model, so net "
            "energy equals gross energy. Uncertainties leave the model's own error out."
        )
    idle = data.trials["idle_w"].mean()
    return (
        f"The joules of this profile were **read from a counter** (`{data.source}`), over the boundary "
        f"`{data.boundary}`. Idle power was {idle:.1f} W; net energy is gross energy less idle power times the seconds."
    )


def repeatability(data: StudyData) -> str:
    """How far a single training can be trusted."""
    table = meter_repeatability(data).set_index("quantity")
    energy, seconds = table.loc["gross_j"], table.loc["duration_s"]
    share = energy["counter_uncertainty"] / energy["mean"]
    smallest = 2 * 2**0.5 * energy["cv_pct"]  # two standard deviations of a difference
    return (
        f"{energy['n']:.0f} trainings of one configuration took {energy['mean']:.3g} J on average (95 % interval "
        f"{energy['ci_low']:.3g} to {energy['ci_high']:.3g} J), with a coefficient of variation of "
        f"{energy['cv_pct']:.1f} %; their durations varied by {seconds['cv_pct']:.1f} %. The resolution of the counter "
        f"accounts for {100 * share:.2g} % of a training's energy. A difference between two single trainings that is "
        f"smaller than about {smallest:.0f} % therefore says nothing: that is why every comparison here repeats them."
    )


def meter_comparison(data: StudyData) -> str:
    """How far energy by sampled power lies from the counter's."""
    table = meter_tables.meter_comparison(data)
    lines = []
    for method in (meter_tables.POLLED, meter_tables.AUTHORS):
        rows = table[table["method"] == method]
        by_load = rows.groupby("load")["bias_pct"].agg(["mean", "min", "max"])
        told = [
            f"{row.mean:+.1f} % ({row.min:+.1f} to {row.max:+.1f}) over `{load}`"
            for load, row in zip(by_load.index, by_load.itertuples(name="Bias"), strict=True)
        ]
        lines.append(f"- **{method}**, {rows['samples'].mean():.0f} samples a window: " + ", ".join(told) + ".")
    windows = table.drop_duplicates(["load", "repetition"])
    return "\n".join(
        [
            f"Against the counter, over {len(windows)} windows of {windows['seconds'].mean():.0f} s, energy came out "
            "different by (mean, least to most):",
            "",
            *lines,
        ]
    )


def flagged(data: StudyData) -> str:
    """How many trials something spoiled."""
    rest = f"{len(data.trials)} trials remain."
    table = meter_tables.flagged_trials(data)
    if table.empty and not data.flagged_tasks:
        return f"No trial is flagged as spoiled by another process on the GPU or by throttling: all {rest}"
    kinds = ", ".join(f"{row.trials} `{row.flag}`" for row in table.itertuples())
    return (
        "Flagged as spoiled, and left out of everything but the table of trials and the sum of what all records spent: "
        f"{kinds or 'no trial'}, and {len(data.flagged_tasks)} measurements that are no trainings; {rest}"
    )
