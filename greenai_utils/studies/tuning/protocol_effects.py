"""How the answer changes: published against corrected protocol, each fault on its own, and other search spaces.

Protocols are compared on the same configurations and seeds, and differences are averaged over the seeds of a
configuration before anything else: the configuration is the unit that intervals rest on. Search spaces are compared by
searches of the same strategy from the same seed.

Only joules that were read over a training count here: imputed ones say nothing about what moves a training's energy.
"""

from collections.abc import Iterator

import pandas as pd

from greenai_utils.search.spaces import SPACES, Space
from greenai_utils.stats.intervals import Interval, bootstrap_contrast
from greenai_utils.stats.survival import (
    default_horizon,
    energies_to_target,
    restricted_mean_difference,
    restricted_mean_energy,
)
from greenai_utils.studies.study_data import StudyData, Table, with_source
from greenai_utils.studies.tuning.search_progress import chosen_by
from greenai_utils.studies.tuning.tables import SUMMARY_TARGET, main_cell, tuning_anytime, tuning_summary

CORRECTED = "corrected"
ACTIVATION = "fault:dense_relu"
"""The published networks have no activation between linear layers: a fault of the network, not of the protocol."""
NO_BATCH_NORM = ("dense_poly", "dense_linear")
"""Networks that compute the same in training mode as in evaluation mode."""
CHANCE = 0.1
"""All data sets have ten classes of about equal size; a diverged training classifies by chance."""
RESAMPLES = 4_000

CONFIGURATION = ["learning_rate", "beta1", "beta2", "epsilon", "weight_decay", "batch_size"]
_PAIR = [*CONFIGURATION, "seed", "repetition"]
COLUMNS = [
    *("dataset", "network", "strategy", "contrast", "baseline", "quantity", "unit", "baseline_mean", "mean"),
    *("difference", "ci_low", "ci_high", "over", "n", "pairs", "diverged", "baseline_diverged"),
]


@Table.apart("quantity")
def tuning_protocol_effects(data: StudyData) -> pd.DataFrame:
    """What each fault of the published protocol changes, and what other search spaces change; see the module."""
    rows = [*_protocol_rows(data), *_choice_rows(data), *_space_rows(data)]
    return with_source(pd.DataFrame(rows, columns=COLUMNS), data)


def protocol_trials(data: StudyData) -> pd.DataFrame:
    """The trials of the protocols study, with the protocol's `contrast` and what is compared.

    Added columns: `contrast` (the protocol, with the missing activation as a fault of its own), `accuracy` (test
    accuracy; that of chance where training diverged), and two that are empty where it did: `optimism` (the accuracy
    that its protocol chooses by less the test accuracy in evaluation mode) and `read_j` (gross joules).
    """
    frame = data.protocols
    finished = frame["status"] == "ok"
    no_activation = ~frame["dense_relu"].astype(bool) & (frame["protocol"] != "published")
    contrast = frame["protocol"].where(~no_activation, frame["protocol"] + "+" + ACTIVATION.removeprefix("fault:"))
    test = frame["test_accuracy"].astype(float)
    return frame.assign(
        contrast=contrast.replace(f"{CORRECTED}+{ACTIVATION.removeprefix('fault:')}", ACTIVATION),
        accuracy=test.where(finished, CHANCE),
        optimism=(chosen_by(frame).astype(float) - _honest(frame)).where(finished),
        read_j=frame["gross_j"].astype(float).where(finished),
    )


def _honest(frame: pd.DataFrame) -> pd.Series:
    """Test accuracy in evaluation mode; empty where only that of training mode was recorded."""
    in_training_mode = frame["protocol"].str.contains("published|evaluate_in_eval_mode")
    known = ~in_training_mode | frame["network"].isin(NO_BATCH_NORM)
    return frame["test_accuracy"].astype(float).where(known, frame["eval_test_accuracy"].astype(float))


def _protocol_rows(data: StudyData) -> Iterator[dict[str, object]]:
    for (dataset, network), cell in protocol_trials(data).groupby(["dataset", "network"]):
        baseline = cell[cell["contrast"] == CORRECTED]
        for contrast, trials in cell[cell["contrast"] != CORRECTED].groupby("contrast"):
            pairs = trials.merge(baseline, on=_PAIR, suffixes=("", "_baseline"))
            common = {
                "dataset": dataset,
                "network": network,
                "contrast": contrast,
                "baseline": CORRECTED,
                "over": "configurations",
                "diverged": int((pairs["status"] == "diverged").sum()),
                "baseline_diverged": int((pairs["status_baseline"] == "diverged").sum()),
            }
            for quantity, unit in (("accuracy", "share"), ("optimism", "share"), ("read_j", "J"), ("read_j", "ratio")):
                name = {"accuracy": "test_accuracy", "read_j": "gross_j"}.get(quantity, quantity)
                of_pairs = pairs.dropna(subset=[quantity, f"{quantity}_baseline"])
                means = of_pairs.groupby(CONFIGURATION)[[quantity, f"{quantity}_baseline"]].mean()
                if len(means) < 2:
                    continue  # no interval over configurations
                yield {
                    **common,
                    "quantity": name,
                    "unit": unit,
                    **_paired(means[quantity], means[f"{quantity}_baseline"], unit),
                    "n": len(means),
                    "pairs": len(of_pairs),
                }


def _choice_rows(data: StudyData) -> Iterator[dict[str, object]]:
    """The test accuracy that a search reports when it chooses by that, against what it reports when it does not.

    The trials are the same; only the choice among them differs, so that the difference is what choosing by the test
    split adds to the number and to nothing else.
    """
    finished = main_cell(data, data.tuning)
    finished = finished[(finished["status"] == "ok") & (finished["fidelity"] >= 1)]
    finished = finished[finished["validation_accuracy"].notna()]
    for strategy, trials in finished.groupby("strategy"):
        searches = trials.groupby("search_seed")
        if searches.ngroups < 2:
            continue
        by_test = searches["test_accuracy"].max()
        by_validation = trials.loc[searches["validation_accuracy"].idxmax()].set_index("search_seed")["test_accuracy"]
        yield {
            "dataset": trials["dataset"].iloc[0],
            "network": trials["network"].iloc[0],
            "strategy": strategy,
            "contrast": "chosen by test accuracy",
            "baseline": "chosen by validation accuracy",
            "quantity": "reported_accuracy",
            "unit": "share",
            **_paired(by_test, by_validation.loc[by_test.index], "share"),
            "over": "searches",
            "n": len(by_test),
            "pairs": len(by_test),
            "diverged": 0,
            "baseline_diverged": 0,
        }


def _space_rows(data: StudyData) -> Iterator[dict[str, object]]:
    """Searches of one strategy in two spaces, paired by seed; joules to a target that both spaces share."""
    summary, anytime = tuning_summary.exact(data), tuning_anytime.exact(data)
    keys = ["dataset", "network", "protocol", "strategy"]
    best = anytime.groupby(keys[:-1])["best_so_far"].transform("max")
    for key, searches in summary.groupby(keys):
        dataset, network, _, strategy = key
        known = {**SPACES, **{space.name: space for space in data.profile.spaces}}
        spaces = [space for space in known if space in set(searches["space"])]
        for base, other in ((a, b) for a in spaces for b in spaces if a != b):
            name = space_contrast(known[base], known[other])
            if name is None:
                continue
            a, b = (searches[searches["space"] == space].set_index("seed") for space in (other, base))
            seeds = a.index.intersection(b.index)
            if len(seeds) < 2:
                continue
            a, b = a.loc[seeds], b.loc[seeds]
            common = {
                "dataset": dataset,
                "network": network,
                "strategy": strategy,
                "contrast": f"{name} ({other})",
                "baseline": base,
                "over": "searches",
                "n": len(seeds),
                "pairs": len(seeds),
                "diverged": int(a["diverged"].sum()),
                "baseline_diverged": int(b["diverged"].sum()),
            }
            for quantity in ("best_score", "test_accuracy"):
                pair = _paired(a[quantity].fillna(CHANCE), b[quantity].fillna(CHANCE), "share")
                yield {**common, "quantity": quantity, "unit": "share", **pair}
            if a["unread_j"].sum() + b["unread_j"].sum() > 0:
                continue  # imputed joules decide nothing
            mine = (anytime[keys] == pd.Series(dict(zip(keys, key, strict=True)))).all(axis="columns")
            mine &= anytime["seed"].isin(seeds)
            target = SUMMARY_TARGET * float(best[mine].iloc[0])
            first, second = (
                energies_to_target(anytime[mine & (anytime["space"] == space)], "seed", target)
                for space in (other, base)
            )
            horizon = min(default_horizon(each["energy_j"], each["reached"]) for each in (first, second))
            horizon = min(horizon, max(first["energy_j"].max(), second["energy_j"].max()))
            means = [
                restricted_mean_energy(each["energy_j"], each["reached"], horizon, resamples=100).estimate
                for each in (first, second)
            ]
            effect = restricted_mean_difference(first, second, horizon, resamples=RESAMPLES)
            yield {**common, "quantity": "energy_to_target_j", "unit": "J", **_as_row(effect, *means)}


def space_contrast(base: Space, other: Space) -> str | None:
    """What a space changes against another, in words; None where the two do not differ in one thing alone.

    One thing is: more dimensions with the others as they were, or a linear instead of a logarithmic learning rate with
    the same dimensions. (Where the bounds of betas differ by less than 0.01 they count as the same: the published ones
    include 1, which Adam rejects.)
    """
    first, second = ({each.name: each for each in space.dimensions} for space in (base, other))
    if set(first) < set(second) and all(second[name] == first[name] for name in first):
        return f"{len(second)} hyperparameters instead of {len(first)}"
    if set(first) == set(second) and "learning_rate" in first:
        scales = first["learning_rate"].scale, second["learning_rate"].scale
        close = all(
            abs(first[name].low - second[name].low) < 0.01 and abs(first[name].high - second[name].high) < 0.01
            for name in first
        )
        if scales == ("log", "linear") and close:
            return "linear learning rate instead of log"
    return None


def _paired(values: pd.Series, baseline: pd.Series, unit: str) -> dict[str, object]:
    """How a mean differs between pairs, as a difference or, for the unit `ratio`, as a share of the baseline's mean."""
    if unit == "ratio":
        effect = bootstrap_contrast(values, baseline, contrast="ratio", paired=True, resamples=RESAMPLES)
        effect = Interval(*(each - 1 for each in effect))
    else:
        effect = bootstrap_contrast(values, baseline, paired=True, resamples=RESAMPLES)
    return _as_row(effect, float(values.mean()), float(baseline.mean()))


def _as_row(effect: Interval, mean: float, baseline: float) -> dict[str, object]:
    return {
        "baseline_mean": baseline,
        "mean": mean,
        "difference": effect.estimate,
        "ci_low": effect.low,
        "ci_high": effect.high,
    }
