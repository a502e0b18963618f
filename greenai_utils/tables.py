"""Records to tables: tidy frames, and the CSV files that figures and other people's tools read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import pandas as pd

from greenai_utils import paths
from greenai_utils.anova import factorial_anova
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.fronts import knee, pareto_front
from greenai_utils.plans import Step, plan_layers, plan_meter, plan_searches
from greenai_utils.records import Record, Store
from greenai_utils.settings import Profile
from greenai_utils.statistics import group_means
from greenai_utils.trials import Trial, protocol_name

SUMMARY_TARGET = 0.95
"""The share of the best known accuracy that `tuning_summary.csv` counts joules to."""

FACTORS = ["linear", "conv", "relu"]
"""The factors of the layer study."""


@dataclass(frozen=True)
class StudyData:
    """A profile and the trials recorded for it.

    Attributes:
        profile: The settings.
        trials: One row a recorded trial; see `trials_table`.
    """

    profile: Profile
    trials: pd.DataFrame

    @classmethod
    def read(cls, profile: Profile) -> Self:
        """Read the records of a profile.

        Raises:
            InputError: There are none, or they come from several machines or sources.
        """
        store = Store(paths.records_folder(profile.name))
        if not len(store):
            raise InputError(
                f"profile {profile.name} has records", "none", f"run `make reproduce PROFILE={profile.name}` first"
            )
        return cls(profile, trials_table(store))

    @property
    def source(self) -> str:
        """Where the joules come from: `nvml`, `rapl`, ..., or `estimate`."""
        return str(self.trials["source"].iloc[0])

    @property
    def boundary(self) -> str:
        """What the joules count: `gpu`, `cpu+dram`, ..."""
        return str(self.trials["boundary"].iloc[0])

    @cached_property
    def meter(self) -> pd.DataFrame:
        """The trials of the meter study."""
        return self._planned(plan_meter(self.profile))

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The trials of the layer study, with its factors as `linear`, `conv` and `relu`."""
        frame = self._planned(plan_layers(self.profile))
        return frame.assign(linear=frame["linear_layers"], conv=frame["conv_layers"])

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """The trials of the tuning study in the order of each search, with what each search had reached and spent.

        Added columns: `score` (the accuracy that its protocol chooses by; 0 where training diverged), `best_so_far`
        and `cumulative_j` (of the search, this trial included).
        """
        searches = [search.identity for search in plan_searches(self.profile)]
        frame = self.trials[self.trials["search"].isin(searches)].sort_values(
            ["strategy", "search_seed", "search_trial"]
        )
        if frame.empty:
            raise self._lacking("the tuning")
        frame = frame.assign(score=chosen_by(frame).fillna(0.0))
        groups = frame.groupby(["strategy", "search_seed"])
        return frame.assign(best_so_far=groups["score"].cummax(), cumulative_j=groups["gross_j"].cumsum())

    def _planned(self, steps: Iterable[Step]) -> pd.DataFrame:
        keys = [step.trial.key for step in steps]
        frame = self.trials.set_index("key", drop=False)
        recorded = [key for key in keys if key in frame.index]
        if not recorded:
            raise self._lacking("the planned")
        return frame.loc[recorded].reset_index(drop=True)

    def _lacking(self, study: str) -> InputError:
        name = self.profile.name
        return InputError(
            f"profile {name} has records of {study} study", "none", f"run `make reproduce PROFILE={name}`"
        )


def chosen_by(frame: pd.DataFrame) -> pd.Series:
    """The accuracy that a trial's protocol chooses by: validation, or test where no validation split is held out."""
    return frame["validation_accuracy"].fillna(frame["test_accuracy"])


def meter_repeatability(data: StudyData) -> pd.DataFrame:
    """How repeated trainings of one configuration scatter, beside what the counter's own period accounts for."""
    quantities = ["gross_j", "duration_s", "cpu_s", "test_accuracy"]
    long = data.meter.melt(value_vars=quantities, var_name="quantity").dropna()
    table = group_means(long, "value", "quantity").set_index("quantity").loc[quantities].reset_index()
    table["cv_pct"] = 100 * table["sd"] / table["mean"]
    table["counter_uncertainty"] = table["quantity"].map({"gross_j": data.meter["uncertainty_j"].mean()})
    return _with_source(table, data)


def tuning_summary(data: StudyData) -> pd.DataFrame:
    """One row a search: what it reached, what it spent, and what it spent to reach the target."""
    target = SUMMARY_TARGET * data.tuning["score"].max()
    rows = []
    for (strategy, seed), search in data.tuning.groupby(["strategy", "search_seed"], sort=True):
        best = search.iloc[search["score"].argmax()]
        reached = search[search["score"] >= target]
        rows.append(
            {
                "dataset": best["dataset"],
                "network": best["network"],
                "strategy": strategy,
                "seed": seed,
                "trials": len(search),
                "best_validation_accuracy": best["validation_accuracy"],
                "test_accuracy": best["test_accuracy"],
                "total_j": search["gross_j"].sum(),
                "target_accuracy": target,
                "energy_to_target_j": reached["cumulative_j"].iloc[0] if len(reached) else None,
                "diverged": int((search["status"] == "diverged").sum()),
                "wasted_j": search.loc[search["status"] == "diverged", "gross_j"].sum(),
                "tuner_j": search["tuner_j"].sum(),
                "tuner_source": best["tuner_source"],
            }
        )
    return _with_source(pd.DataFrame(rows), data)


def tuning_anytime(data: StudyData) -> pd.DataFrame:
    """Best accuracy so far against joules so far, after every trial of every search."""
    frame = data.tuning[["strategy", "search_seed", "search_trial", "cumulative_j", "best_so_far"]]
    frame = frame.rename(columns={"search_seed": "seed", "search_trial": "trial"}).reset_index(drop=True)
    return _with_source(frame, data)


def configuration_means(data: StudyData) -> pd.DataFrame:
    """The layer study with repetitions averaged: one row a cell and configuration, which is the replicate."""
    values = ["gross_j", "net_j", "duration_s", "test_accuracy"]
    return data.layers.groupby([*FACTORS, "configuration"], as_index=False)[values].mean()


def layer_cells(data: StudyData) -> pd.DataFrame:
    """Energy and accuracy of each cell of the layer study, with 95 % t-intervals over configurations."""
    means = configuration_means(data)
    energy = group_means(means, "gross_j", FACTORS).rename(
        columns={"mean": "mean_j", "sd": "sd_j", "ci_low": "ci_low_j", "ci_high": "ci_high_j"}
    )
    others = means.groupby(FACTORS, as_index=False)[["net_j", "duration_s", "test_accuracy"]].mean()
    others = others.rename(columns={"net_j": "mean_net_j", "duration_s": "mean_s"})
    return _with_source(energy.merge(others, on=FACTORS), data)


def layer_anova(data: StudyData) -> pd.DataFrame:
    """Which layers move the net energy of a training: Type III ANOVA over the means of configurations."""
    return _with_source(factorial_anova(configuration_means(data), "net_j", FACTORS), data)


def accuracy_and_energy(data: StudyData) -> pd.DataFrame:
    """Every finished trial of the tuning and layer studies, with the accuracy to choose by as `accuracy`."""
    frame = pd.concat([data.tuning, data.layers], ignore_index=True)
    frame = frame[frame["status"] == "ok"]
    label = frame["network"].where(
        frame["network"] != "simple_cnn",
        "simple_cnn L="
        + frame["linear_layers"].astype(str)
        + " K="
        + frame["conv_layers"].astype(str)
        + frame["relu"].map({True: " ReLU", False: " no ReLU"}),
    )
    return frame.assign(accuracy=chosen_by(frame), label=label)


def pareto_table(data: StudyData) -> pd.DataFrame:
    """The trials that no other trial of their study beats in both accuracy and energy, by study and energy."""
    frame = accuracy_and_energy(data)
    columns = [
        "study",
        "dataset",
        "network",
        "label",
        "strategy",
        "key",
        "accuracy",
        "test_accuracy",
        "gross_j",
        "uncertainty_j",
    ]
    fronts = [
        pareto_front(part[columns], maximise="accuracy", minimise="gross_j") for _, part in frame.groupby("study")
    ]
    front = pd.concat(fronts).sort_values(["study", "gross_j"], ignore_index=True)
    return _with_source(front, data)


def front_knee(front: pd.DataFrame) -> pd.Series | None:
    """The knee of a front of accuracy and gross energy; None where it has none (see `fronts.knee`)."""
    return knee(front, maximise="accuracy", minimise="gross_j") if len(front) > 1 else None


TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    "trials": lambda data: data.trials,
    "meter_repeatability": meter_repeatability,
    "tuning_summary": tuning_summary,
    "tuning_anytime": tuning_anytime,
    "layer_cells": layer_cells,
    "layer_anova": layer_anova,
    "pareto_front": pareto_table,
}
"""Every table, by the name of its CSV file."""


def build_table(data: StudyData, name: str) -> pd.DataFrame:
    """Compute a table, write it as CSV and return it.

    Raises:
        InputError: There is no such table, or the records do not suffice for it.
    """
    if name not in TABLES:
        raise InputError(f"a table is one of {', '.join(TABLES)}", repr(name), "name one of these")
    frame = TABLES[name](data)
    write_text(paths.tables_folder(data.profile.name) / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    return frame


def write_tables(profile: Profile) -> None:
    """Compute and write all tables of a profile; see `build_table`."""
    data = StudyData.read(profile)
    for name in TABLES:
        build_table(data, name)


def _with_source(frame: pd.DataFrame, data: StudyData) -> pd.DataFrame:
    return frame.assign(source=data.source, boundary=data.boundary)


WHOLE_NUMBERS = ["side", "max_steps", "configuration", "search_seed", "search_trial"]
"""Columns of counts that most trials leave empty."""


def trials_table(store: Store) -> pd.DataFrame:
    """One row a recorded trial; `data/README.md` defines the columns.

    Raises:
        InputError: The records come from several machines or energy sources, which must not be pooled.
    """
    frame = pd.DataFrame([_trial_row(record) for record in store])
    frame = frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))  # unlike int, with gaps
    for column in ("machine", "source", "boundary"):
        if len(frame) and frame[column].nunique() > 1:
            raise InputError(
                f"the records of a profile share one {column}",
                ", ".join(map(str, frame[column].unique())),
                "keep each machine's records in a profile of its own",
            )
    return frame


def _trial_row(record: Record) -> dict[str, object]:
    trial = Trial.from_record(record["trial"])
    network, settings = trial.network, trial.hyperparameters
    search = record.get("search") or {}
    training = record["training"]
    evaluation = record["evaluation"] or {}
    tuner = record.get("tuner") or {}
    return {
        "key": record["key"],
        "study": record["study"],
        "dataset": trial.dataset,
        "side": trial.side,
        "network": network.kind,
        "linear_layers": network.linear_layers,
        "conv_layers": network.conv_layers,
        "relu": network.relu,
        "dense_relu": network.dense_relu,
        "learning_rate": settings.learning_rate,
        "beta1": settings.beta1,
        "beta2": settings.beta2,
        "epsilon": settings.epsilon,
        "weight_decay": settings.weight_decay,
        "batch_size": trial.batch_size,
        "epochs": trial.epochs,
        "max_steps": trial.max_steps,
        "precision": trial.precision,
        "flush_denormal": trial.flush_denormal,
        "protocol": protocol_name(trial.protocol),
        "seed": trial.seed,
        "repetition": trial.repetition,
        "configuration": record.get("configuration"),
        "strategy": search.get("strategy"),
        "space": search.get("space"),
        "search": search.get("id"),
        "search_seed": search.get("seed"),
        "search_trial": search.get("trial"),
        "status": record["status"],
        "steps": record["steps"],
        "train_loss": record["train_loss"],
        "validation_accuracy": record["validation_accuracy"],
        "test_accuracy": record["test_accuracy"],
        "gross_j": training["gross_j"],
        "net_j": training["net_j"],
        "imputed_j": record.get("imputed_j"),
        "uncertainty_j": training["uncertainty_j"],
        "idle_w": training["idle_w"],
        "duration_s": training["duration_s"],
        "cpu_s": training["cpu_s"],
        "repeats": record["repeats"],
        "evaluation_j": evaluation.get("gross_j"),
        "evaluation_s": evaluation.get("duration_s"),
        "tuner_j": tuner.get("gross_j"),
        "tuner_s": tuner.get("duration_s"),
        "tuner_source": tuner.get("source"),
        "source": training["source"],
        "boundary": training["boundary"],
        "machine": record["machine"],
        "device": record["device"],
        "threads": record["threads"],
        "torch": record["torch"],
        "recorded_at": record["recorded_at"],
    }
