"""A profile and its recorded trials as a table: what every table and figure is computed from; and tables of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, update_wrapper
from pathlib import Path
from typing import Self

import pandas as pd

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.recording.goes import how_to_record, not_recorded
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.stats.checks import Columns
from greenai_utils.stats.rounding import rounded
from greenai_utils.studies import find_series
from greenai_utils.studies.published.authors import PublishedData
from greenai_utils.studies.published.files import Unavailable
from greenai_utils.studies.search_progress import CELL, search_progress
from greenai_utils.training.trial import Trial, protocol_name


@dataclass(frozen=True, eq=False)
class StudyData:
    """A profile and the trials recorded for it.

    Attributes:
        profile: The settings.
        trials: One row a recorded trial; see `trials_table`.
        tasks: The records of the studies that measure something other than trainings.
        flagged: Trials that something spoiled (`flags`), which no analysis sees; None for none.
        flagged_tasks: The records of tasks that were left out likewise.
    """

    profile: Profile
    trials: pd.DataFrame
    tasks: Sequence[Record] = ()
    flagged: pd.DataFrame | None = None
    flagged_tasks: Sequence[Record] = ()

    @classmethod
    def read(cls, profile: Profile, folder: Path | None = None) -> Self:
        """Read the records of a profile.

        Args:
            profile: Whose records.
            folder: Where they lie, if not where this profile records.

        Raises:
            InputError: There are none, or they come from several machines or sources.
        """
        store = Store(folder or paths.records_folder(profile.name))
        if not len(store):
            if profile.recorded:
                raise not_recorded(profile)
            raise InputError(
                f"profile {profile.name} has records", "none", f"run `make reproduce PROFILE={profile.name}` first"
            )
        trials, tasks = trials_table(store), [record for record in store if "task" in record]
        _require_one("machine", {*trials["machine"], *(record["machine"] for record in tasks)})
        spoiled = trials["flags"] != ""
        clean, others = ([one for one in tasks if bool(one.get("flags")) == flagged] for flagged in (False, True))
        if spoiled.all():
            raise InputError(
                "a profile has trials that nothing spoiled",
                f"all {len(trials)} flagged as {', '.join(sorted(set(trials['flags'])))}",
                "keep the GPU to this process and cool, and record into another folder",
            )
        return cls(profile, trials[~spoiled].reset_index(drop=True), clean, trials[spoiled], others)

    @property
    def all_trials(self) -> pd.DataFrame:
        """Every recorded trial, flagged or not."""
        if self.flagged is None or self.flagged.empty:
            return self.trials
        return pd.concat([self.trials, self.flagged], ignore_index=True)

    @property
    def source(self) -> str:
        """Where the joules come from: `nvml`, `rapl`, ..., or `estimate`."""
        return str(self.trials["source"].iloc[0])

    @property
    def boundary(self) -> str:
        """What the joules count: `gpu`, `cpu+dram`, ..."""
        return str(self.trials["boundary"].iloc[0])

    def trained(self, name: str) -> pd.DataFrame:
        """The recorded trials of a series of trainings, in the order of its plan.

        Raises:
            InputError: There are none.
        """
        frame = find_series(name).rows(self.profile, self.trials)
        if frame.empty:
            raise self._lacking(f"the {name}")
        return frame

    def measured(self, name: str) -> list[Record]:
        """The records of a series of measurements, in the order of its plan.

        Raises:
            InputError: There are none.
        """
        recorded = {record["key"]: record for record in self.tasks}
        found = [recorded[key] for key in find_series(name).keys(self.profile) if key in recorded]
        if not found:
            raise self._lacking(f"the {name}")
        return found

    @cached_property
    def meter(self) -> pd.DataFrame:
        """The trials of the meter study."""
        return self.trained("meter")

    @cached_property
    def alone(self) -> pd.DataFrame:
        """The trials that were trained alone to say what a member of a population is charged; all of them were read.

        Those of whole trainings start at 0 and stop at a `fidelity` of 1; the others are rungs. Empty where no searches
        train in populations.
        """
        series = find_series("alone")
        return self.trained("alone") if series.keys(self.profile) else self.trials.iloc[:0]

    @cached_property
    def protocols(self) -> pd.DataFrame:
        """The trials of the protocols study."""
        return self.trained("protocols")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The trials of the layer study, with its factors as `linear`, `conv` and `relu`."""
        frame = self.trained("layers")
        return frame.assign(linear=frame["linear_layers"], conv=frame["conv_layers"])

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """The trials of the tuning study in the order of each search, with what each search had reached and spent.

        See `search_progress.search_progress` for the columns that are added.
        """
        spoiled = set() if self.flagged is None else set(self.flagged["search"].dropna())
        frame = self.trained("tuning")
        # A search without one of its trials has spent what nobody knows.
        frame = frame[~frame["search"].isin(spoiled)]
        if frame.empty:
            raise self._lacking("the tuning")
        return search_progress(frame)

    @cached_property
    def ladders(self) -> pd.DataFrame:
        """The trials of the ladder study, with `ladder` (epochs or size) and `rung` (epochs or convolutional blocks).

        A training that stands on both ladders has a row for each.
        """
        steps = find_series("ladders").planned(self.profile)
        places = pd.DataFrame([{"key": step.key, **step.place} for step in steps])
        trials = self.trained("ladders").drop_duplicates("key")
        return places.merge(trials, on="key")

    @property
    def published(self) -> PublishedData:
        """The authors' data.

        Raises:
            Unavailable: They are neither here nor can be fetched.
            InputError: A file is not the published one.
        """
        if isinstance(self._published, Unavailable):
            raise self._published
        return self._published

    @property
    def gap(self) -> Unavailable | None:
        """What is missing of the authors' data; None if they are here."""
        return self._published if isinstance(self._published, Unavailable) else None

    @cached_property
    def _published(self) -> PublishedData | Unavailable:
        """Looked for once, since a machine without a network takes seconds to say so."""
        try:
            return PublishedData.read()
        except Unavailable as gap:
            return gap

    def _lacking(self, study: str) -> InputError:
        name, rule = self.profile.name, f"profile {self.profile.name} has records of {study} study"
        if self.profile.recorded:
            return Gap(rule, f"{study} study is not recorded yet", how_to_record(self.profile))
        return InputError(rule, "none", f"run `make reproduce PROFILE={name}`")


class Table:
    """A table of recorded data, built once: decorates the function that builds it.

    Called, it gives what is written (`rounding.rounded`), for figures, sentences and readers; `exact` gives every
    digit, for tables that are computed from it.
    """

    def __init__(self, build: Callable[[StudyData], pd.DataFrame], apart: Columns = ()) -> None:
        self.exact: Callable[[StudyData], pd.DataFrame] = lru_cache(maxsize=2)(build)
        self._written = lru_cache(maxsize=2)(lambda data: rounded(self.exact(data), apart))
        update_wrapper(self, build)

    def __call__(self, data: StudyData) -> pd.DataFrame:
        """The table as it is written."""
        return self._written(data)

    @classmethod
    def apart(cls, *columns: str) -> Callable[[Callable[[StudyData], pd.DataFrame]], Self]:
        """A table whose rows differ in unit or magnitude by these columns; see `rounding.rounded`."""
        return partial(cls, apart=columns)


WHOLE_NUMBERS = ["side", "max_steps", "configuration", "search_seed", "search_trial", "members"]
"""Columns of counts that most trials leave empty."""


def trials_table(store: Store) -> pd.DataFrame:
    """One row a recorded trial; `data/README.md` defines the columns.

    Raises:
        InputError: The records come from several machines or energy sources, which must not be pooled.
    """
    frame = pd.DataFrame([_trial_row(record) for record in store if "trial" in record])
    frame = frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))  # unlike int, with gaps
    for column in ("machine", "source", "boundary"):
        _require_one(column, set(frame[column]))
    return frame


def _require_one(column: str, values: set[object]) -> None:
    if len(values) > 1:
        raise InputError(
            f"the records of a profile share one {column}",
            ", ".join(sorted(map(str, values))),
            "keep each machine's records in a profile of its own",
        )


def _trial_row(record: Record) -> dict[str, object]:
    trial = Trial.from_record(record["trial"])
    network, settings = trial.network, trial.hyperparameters
    search, alone = record.get("search") or {}, record.get("alone") or {}
    place = {**alone, **search}
    training, group = record["training"], record.get("group") or {}
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
        "schedule": trial.schedule,
        "train_share": trial.train_share,
        "stop_at": trial.stop_at,
        "precision": trial.precision,
        "flush_denormal": trial.flush_denormal,
        "protocol": protocol_name(trial.protocol),
        "seed": trial.seed,
        "repetition": trial.repetition,
        "configuration": alone.get("configuration", record.get("configuration")),
        "strategy": search.get("strategy"),
        "space": place.get("space"),
        "search": search.get("id"),
        "search_seed": search.get("seed"),
        "search_trial": search.get("trial"),
        "fidelity": place.get("fidelity", 1.0) if place else None,
        "start": place.get("start", 0.0) if place else None,
        "parent": record.get("parent"),
        "status": record["status"],
        "steps": record["steps"],
        "train_loss": record["train_loss"],
        "validation_accuracy": record["validation_accuracy"],
        "test_accuracy": record["test_accuracy"],
        "eval_test_accuracy": record.get("eval_test_accuracy"),
        "gross_j": training["gross_j"],
        "net_j": training["net_j"],
        "imputed_j": record.get("imputed_j"),
        "share_j": record.get("share_j"),
        "group": group.get("id"),
        "members": group.get("members"),
        "group_evaluation_j": (group.get("evaluation") or {}).get("gross_j"),
        "uncertainty_j": training["uncertainty_j"],
        "idle_w": training["idle_w"],
        "duration_s": training["duration_s"],
        "cpu_s": training["cpu_s"],
        "repeats": record["repeats"],
        "stacked": record.get("stacked", False),
        "evaluation_j": evaluation.get("gross_j"),
        "evaluation_s": evaluation.get("duration_s"),
        "tuner_j": tuner.get("gross_j"),
        "tuner_s": tuner.get("duration_s"),
        "tuner_source": tuner.get("source"),
        "source": training["source"],
        "boundary": training["boundary"],
        "flags": " ".join(record.get("flags", [])),
        "machine": record["machine"],
        "device": record["device"],
        "threads": record["threads"],
        "torch": record["torch"],
        "recorded_at": record["recorded_at"],
    }


def main_cell(data: StudyData, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cell that the settings of the searches name; the others are variations of it."""
    settings = data.profile.tuning
    cell = [settings.task.dataset, settings.task.network, settings.space, settings.task.protocol]
    return frame[(frame[CELL] == cell).all(axis="columns")].reset_index(drop=True)


def with_source(frame: pd.DataFrame, data: StudyData) -> pd.DataFrame:
    """A table with where its joules come from and what they count."""
    return frame.assign(source=data.source, boundary=data.boundary)


def spent(trials: pd.DataFrame, tasks: Iterable[Record]) -> pd.DataFrame:
    """What was recorded took in all: trainings as often as they were repeated, evaluations, proposals, other tasks.

    The joules of a population count once: those of training as the shares of its members, those of evaluation as read.

    Args:
        trials: Rows of `trials_table`.
        tasks: Records of tasks.

    Returns:
        One row a study (`proposing` for what chose configurations), source and boundary: study, source, boundary,
        measurements, energy_j.
    """
    joules = trials["gross_j"].fillna(trials["share_j"]).astype(float).fillna(0.0) * trials["repeats"]
    joules += trials["evaluation_j"].astype(float).fillna(0.0)
    groups = trials.dropna(subset=["group_evaluation_j"]).drop_duplicates("group")
    joules = joules.add(groups["group_evaluation_j"].astype(float), fill_value=0.0)
    proposed = trials[trials["tuner_j"].notna()]
    rows = [
        *zip(trials["study"], trials["source"], trials["boundary"], [1] * len(trials), joules, strict=True),
        *(("proposing", each.tuner_source, "cpu", 0, each.tuner_j) for each in proposed.itertuples()),
    ]
    for record in tasks:
        whole = record["spent"]
        if whole["gross_j"] is not None:  # none for a window too short for its counter
            rows.append((record["study"], whole["source"], whole["boundary"], 1, whole["gross_j"]))
    table = pd.DataFrame(rows, columns=["study", "source", "boundary", "measurements", "energy_j"])
    return table.groupby(["study", "source", "boundary"], sort=False).sum().reset_index()
