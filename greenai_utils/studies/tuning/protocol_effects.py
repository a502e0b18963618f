"""How the answer changes: published against corrected protocol, each fault on its own, and other search spaces.

Protocols are compared on the same configurations and seeds, and differences are averaged over the seeds of a
configuration before anything else: the configuration is the unit that intervals rest on. Search spaces are compared by
searches of the same strategy from the same seed.

Only joules that were read over a training count here: imputed ones say nothing about what moves a training's energy.
"""

from collections.abc import Iterator
from itertools import permutations

import pandas as pd

from greenai_utils.networks.specification import NETWORKS
from greenai_utils.search.spaces import SPACES, Space
from greenai_utils.stats.intervals import Interval, bootstrap_interval, bootstrap_ratio
from greenai_utils.stats.survival import energies_to_target, energy_to_target_table, restricted_mean_difference
from greenai_utils.studies.data import StudyData, Table, main_cell, with_source
from greenai_utils.studies.search_progress import chosen_by
from greenai_utils.studies.tuning.cells import SUMMARY_TARGET
from greenai_utils.studies.tuning.tables import RESAMPLES, tuning_anytime, tuning_summary

CORRECTED = "corrected"
ACTIVATION = "fault:dense_relu"
"""The published networks have no activation between linear layers: a fault of the network, not of the protocol."""
NO_BATCH_NORM = tuple(name for name, network in NETWORKS.items() if not network.blocks)
"""Networks that compute the same in training mode as in evaluation mode."""
CHANCE = 0.1
"""All data sets have ten classes of about equal size; a diverged training classifies by chance."""

CONFIGURATION = ["learning_rate", "beta1", "beta2", "epsilon", "weight_decay", "batch_size"]
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
    no_activation = ~frame["dense_relu"].astype(bool) & (frame["protocol"] == CORRECTED)
    test = frame["test_accuracy"].astype(float)
    in_training_mode = frame["protocol"].str.contains("published|evaluate_in_eval_mode")
    known = ~in_training_mode | frame["network"].isin(NO_BATCH_NORM)
    honest = test.where(known, frame["eval_test_accuracy"].astype(float))
    return frame.assign(
        contrast=frame["protocol"].mask(no_activation, ACTIVATION),
        accuracy=test.where(finished, CHANCE),
        optimism=(chosen_by(frame).astype(float) - honest).where(finished),
        read_j=frame["gross_j"].astype(float).where(finished),
    )


def _protocol_rows(data: StudyData) -> Iterator[dict[str, object]]:
    for (dataset, network), cell in protocol_trials(data).groupby(["dataset", "network"]):
        baseline = cell[cell["contrast"] == CORRECTED]
        for contrast, trials in cell[cell["contrast"] != CORRECTED].groupby("contrast"):
            pairs = trials.merge(baseline, on=[*CONFIGURATION, "seed", "repetition"], suffixes=("", "_baseline"))
            place = {"dataset": dataset, "network": network, "contrast": contrast, "baseline": CORRECTED}
            place |= {"over": "configurations"} | {
                name: int((pairs[status] == "diverged").sum())
                for name, status in (("diverged", "status"), ("baseline_diverged", "status_baseline"))
            }
            for quantity, name, unit in (
                ("accuracy", "test_accuracy", "share"),
                ("optimism", "optimism", "share"),
                ("read_j", "gross_j", "J"),
                ("read_j", "gross_j", "ratio"),
            ):
                both = [quantity, f"{quantity}_baseline"]
                of_pairs = pairs.dropna(subset=both)
                means = of_pairs.groupby(CONFIGURATION)[both].mean()
                if len(means) > 1:  # of one configuration there is no interval
                    counts = {"n": len(means), "pairs": len(of_pairs)}
                    yield {**place, **counts, **_paired(name, means[both[0]], means[both[1]], unit)}


def _choice_rows(data: StudyData) -> Iterator[dict[str, object]]:
    """The test accuracy that a search reports when it chooses by that, against what it reports when it does not.

    The trials are the same; only the choice among them differs, so that the difference is what choosing by the test
    split adds to the number and to nothing else.
    """
    finished = main_cell(data, data.tuning)
    finished = finished[(finished["status"] == "ok") & (finished["fidelity"] >= 1)]
    finished = finished[finished["validation_accuracy"].notna()]
    for (dataset, network, strategy), trials in finished.groupby(["dataset", "network", "strategy"]):
        searches = trials.groupby("search_seed")
        if searches.ngroups < 2:
            continue
        by_test = searches["test_accuracy"].max()
        by_validation = trials.loc[searches["validation_accuracy"].idxmax()].set_index("search_seed")["test_accuracy"]
        yield {
            **{"dataset": dataset, "network": network, "strategy": strategy},
            **{"contrast": "chosen by test accuracy", "baseline": "chosen by validation accuracy"},
            **{"over": "searches", "n": len(by_test), "pairs": len(by_test), "diverged": 0, "baseline_diverged": 0},
            **_paired("reported_accuracy", by_test, by_validation.loc[by_test.index], "share"),
        }


def _space_rows(data: StudyData) -> Iterator[dict[str, object]]:
    """Searches of one strategy in two spaces, paired by seed; joules to a target that both spaces share."""
    summary, anytime = tuning_summary.exact(data), tuning_anytime.exact(data)
    known = {**SPACES, **{space.name: space for space in data.profile.spaces}}
    task = ["dataset", "network", "protocol"]
    anytime = anytime.assign(best=anytime.groupby(task)["best_so_far"].transform("max"))
    for key, searches in summary.groupby([*task, "strategy"]):
        spaces = [space for space in known if space in set(searches["space"])]
        for base, other in permutations(spaces, 2):
            name = space_contrast(known[base], known[other])
            a, b = (searches[searches["space"] == space].set_index("seed") for space in (other, base))
            seeds = a.index.intersection(b.index)
            if name is None or len(seeds) < 2:
                continue
            a, b = a.loc[seeds], b.loc[seeds]
            place = {
                **dict(zip(["dataset", "network", "strategy"], [*key[:2], key[3]], strict=True)),
                **{"contrast": f"{name} ({other})", "baseline": base, "over": "searches"},
                **{"n": len(seeds), "pairs": len(seeds)},
                **{"diverged": int(a["diverged"].sum()), "baseline_diverged": int(b["diverged"].sum())},
            }
            for quantity in ("best_score", "test_accuracy"):
                yield {**place, **_paired(quantity, a[quantity].fillna(CHANCE), b[quantity].fillna(CHANCE), "share")}
            if a["unread_j"].sum() + b["unread_j"].sum() > 0:
                continue  # imputed joules decide nothing
            trials = anytime.merge(pd.DataFrame([key], columns=[*task, "strategy"]))
            trials = trials[trials["space"].isin([base, other]) & trials["seed"].isin(seeds)]
            best = float(trials["best"].iloc[0])
            reached = energies_to_target(trials, ["space", "seed"], SUMMARY_TARGET * best)
            effect = restricted_mean_difference(
                *(reached[reached["space"] == space] for space in (other, base)), resamples=RESAMPLES
            )
            table = energy_to_target_table(trials, "space", "seed", [SUMMARY_TARGET], best=best, resamples=100)
            means = table.set_index("space")["restricted_mean_j"]
            yield {**place, **_as_row("energy_to_target_j", "J", effect, means[other], means[base])}


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


def _paired(quantity: str, values: pd.Series, baseline: pd.Series, unit: str) -> dict[str, object]:
    """How a mean differs between pairs, as a difference or, for the unit `ratio`, as a share of the baseline's mean."""
    if unit == "ratio":
        effect = bootstrap_ratio(values, baseline, RESAMPLES)
        effect = Interval(*(each - 1 for each in effect))
    else:
        effect = bootstrap_interval(values.to_numpy() - baseline.to_numpy(), resamples=RESAMPLES)
    return _as_row(quantity, unit, effect, float(values.mean()), float(baseline.mean()))


def _as_row(quantity: str, unit: str, effect: Interval, mean: float, baseline: float) -> dict[str, object]:
    means = {"quantity": quantity, "unit": unit, "baseline_mean": baseline, "mean": mean}
    return {**means, "difference": effect.estimate, "ci_low": effect.low, "ci_high": effect.high}
