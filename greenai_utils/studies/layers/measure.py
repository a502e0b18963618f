"""How the studies of layers measure one task: raw rows and readings, from which tables are made."""

from dataclasses import asdict

import pandas as pd

from greenai_utils.costs.attribution import attribute_trial
from greenai_utils.costs.microbenchmarks import measure_ceilings, run_microbenchmarks
from greenai_utils.costs.shapes import Shape
from greenai_utils.costs.workload import measure_training
from greenai_utils.identity import from_identity
from greenai_utils.networks.specification import network_name
from greenai_utils.recording.store import Record
from greenai_utils.recording.task import Task
from greenai_utils.recording.workbench import Workbench
from greenai_utils.training.trial import Trial


def measure_attribution(task: Task, bench: Workbench) -> Record:
    """The parts of a training step of one network, and the reading of whole steps among them."""
    trial = Trial.from_record(task.defining["trial"])
    parts, whole = attribute_trial(trial, bench.dataset(trial), bench.meter, task.defining["seconds"])
    return {
        "network": network_name(trial.network),
        "parts": _rows(parts.drop(columns=["network", "share"])),
        "whole": whole.as_record(),
    }


def measure_microbenchmarks(task: Task, bench: Workbench) -> Record:
    """The shapes of one kind of layer, and what the machine does at best just before."""
    shapes = [from_identity(Shape, shape) for shape in task.defining["shapes"]]
    ceilings = measure_ceilings(bench.device, task.defining["ceiling_s"])
    table = run_microbenchmarks(bench.meter, shapes, task.defining["pass_s"], bench.device, task.defining["seed"])
    return {"ceilings": asdict(ceilings), "passes": _rows(table)}


def measure_prediction(task: Task, bench: Workbench) -> Record:
    """One training epoch by epoch, and what it asks of the hardware."""
    trial = Trial.from_record(task.defining["trial"])
    bench.rehearse(trial)
    training = measure_training(trial, bench.dataset(trial), bench.meter)
    return {"predicted": asdict(training) | {"epoch_j": list(training.epoch_j)}}


def _rows(table: pd.DataFrame) -> list[Record]:
    """A table as JSON takes it: None where there is nothing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
