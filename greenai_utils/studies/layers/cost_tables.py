"""Tables of what layers and trainings cost: attribution, closure, micro-benchmarks, model and predictions."""

from functools import lru_cache

import pandas as pd

from greenai_utils.costs.closure import OPERATION_COLUMNS, closure
from greenai_utils.costs.forecasts import compare_methods, prediction_errors
from greenai_utils.costs.machine_model import (
    COEFFICIENTS,
    MachineModel,
    Training,
    bootstrap_machines,
    calibration_table,
    cost_drivers,
    fit_machine,
)
from greenai_utils.costs.roofline import PASS_COLUMNS, Ceilings, roofline
from greenai_utils.energy.counters import is_estimate
from greenai_utils.energy.meter import Reading
from greenai_utils.networks.counts import Counts
from greenai_utils.networks.specification import NetworkSpec, network_name
from greenai_utils.studies.data import StudyData, Table
from greenai_utils.studies.layers.tables import finished_layers

NUMBERS = dict.fromkeys(["joules", "uncertainty_j", "net_j", "seconds"], float)
"""Columns of measurements, which may have gaps."""


@Table
def layer_attribution(data: StudyData) -> pd.DataFrame:
    """Where the joules of one training step go: one row a part of the step of each network attributed."""
    tables = []
    for record in data.measured("attribution"):
        table = pd.DataFrame(record["parts"]).astype(NUMBERS)
        table = table.assign(dataset=record["task"]["trial"]["dataset"], network=record["network"])
        tables.append(table.assign(share=table["joules"] / table["joules"].sum()))
    return pd.concat(tables, ignore_index=True)[["dataset", *OPERATION_COLUMNS]]


@Table
def layer_closure(data: StudyData) -> pd.DataFrame:
    """Whether the parts add up: against whole steps measured among them, and against the trainings of the layer study.

    The step of a training is its energy over its steps, averaged over the recorded trainings of the network, with the
    standard error of that mean. Trainings under another protocol than the corrected one, whose steps are what is
    attributed, do not count.
    """
    attribution, trainings = layer_attribution.exact(data), _joules_per_step(data)
    rows = []
    for record in data.measured("attribution"):
        dataset, network = record["task"]["trial"]["dataset"], record["network"]
        step = attribution[(attribution["dataset"] == dataset) & (attribution["network"] == network)]
        row = closure(step, {network: Reading.from_record(record["whole"])}).iloc[0].to_dict()
        own = trainings[(trainings["dataset"] == dataset) & (trainings["name"] == network)]["step_j"]
        row |= {
            "trainings": len(own),
            "training_j": own.mean(),
            "training_uncertainty_j": own.sem(),
            "training_residual_pct": 100 * (row["sum_of_parts_j"] - own.mean()) / own.mean(),
        }
        rows.append({"dataset": dataset, **row})
    return _last(pd.DataFrame(rows), "parts_without_reading", "source", "boundary")


@Table
def layer_microbenchmarks(data: StudyData) -> pd.DataFrame:
    """What layers cost by themselves over a range of shapes, and where each sits under the machine's roof."""
    tables = [
        roofline(pd.DataFrame(record["passes"], columns=PASS_COLUMNS).astype(NUMBERS), Ceilings(**record["ceilings"]))
        for record in data.measured("microbenchmarks")
    ]
    return _last(pd.concat(tables, ignore_index=True), "source", "boundary", "note")


@lru_cache(maxsize=2)
def machine_model(data: StudyData) -> MachineModel:
    """The model of the machine that recorded a profile, fitted on its micro-benchmarks and attributed steps.

    Raises:
        InputError: The profile has neither recorded, or too little of them.
    """
    return fit_machine(_calibration(data), str(data.trials["machine"].iloc[0]))


@Table.apart("term")
def energy_model(data: StudyData) -> pd.DataFrame:
    """The coefficients of the machine model, with percentile bootstrap intervals over the rows that it is fitted on.

    `converged` tells whether every fit, of the rows and of each bootstrap sample, settled from several starts alike.
    """
    model, drawn = machine_model(data), _bootstrapped(data)
    names = list(COEFFICIENTS.values())
    samples = pd.DataFrame([vars(each) for each in drawn])
    return pd.DataFrame(
        {
            "term": list(COEFFICIENTS),
            "joules_per_unit": [getattr(model, name) for name in names],
            "ci_low": samples[names].quantile(0.025).to_numpy(),
            "ci_high": samples[names].quantile(0.975).to_numpy(),
            "rows": len(_calibration(data)),
            "converged": model.converged and samples["converged"].all(),
            "source": model.source,
            "boundary": model.boundary,
        }
    )


@Table
def layer_cost_drivers(data: StudyData) -> pd.DataFrame:
    """Is a layer dear because of its FLOPs, its bytes or its launches: the model's answer for each type of layer.

    In the steps of the networks attributed and in the micro-benchmarks. `mostly` names the largest share and `agree`
    says in what share of bootstrap fits of the model it is the largest too.
    """
    attribution = layer_attribution.exact(data)
    layers = attribution[~attribution["layer"].str.startswith("(")]
    tables = []
    for evidence, frame in (("attribution", layers), ("microbenchmarks", layer_microbenchmarks.exact(data))):
        table = cost_drivers(machine_model(data), frame).set_index("type")
        drawn = [cost_drivers(model, frame).set_index("type")["mostly"] for model in _bootstrapped(data)]
        agree = pd.concat(drawn, axis=1).eq(table["mostly"], axis=0).mean(axis=1).where(table["mostly"] != "")
        table.insert(table.columns.get_loc("mostly") + 1, "agree", agree)
        table = table.reset_index().sort_values("joules", ascending=False)
        table.insert(0, "evidence", evidence)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@Table
def energy_prediction(data: StudyData) -> pd.DataFrame:
    """Trainings predicted by every method, none of which has seen anything of the network to be predicted."""
    profile, settings = data.profile, data.profile.prediction
    trainings = []
    for record in data.measured("prediction"):
        kept = record["predicted"]
        trainings.append(Training(**kept | {"counts": Counts(**kept["counts"]), "epoch_j": tuple(kept["epoch_j"])}))
    tdp_w = settings.tdp_w
    if tdp_w is None and is_estimate(data.source):
        tdp_w = profile.meter.watts_per_core * profile.threads  # what an estimate takes busy cores for
    return compare_methods(
        trainings,
        _calibration(data),
        tdp_w,
        step_first=settings.step_first,
        step_window=settings.step_window,
        seed=profile.seed,
    )


@Table
def energy_prediction_errors(data: StudyData) -> pd.DataFrame:
    """How far each method is off: the median absolute percentage error with its interval."""
    return prediction_errors(energy_prediction.exact(data), data.profile.seed)


def _calibration(data: StudyData) -> pd.DataFrame:
    return calibration_table(layer_microbenchmarks.exact(data), layer_attribution.exact(data))


@lru_cache(maxsize=2)
def _bootstrapped(data: StudyData) -> list[MachineModel]:
    return bootstrap_machines(_calibration(data), data.profile.seed)


def _last(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """A table with some of its columns at the end."""
    return table[[*table.columns.drop(list(columns)), *columns]]


def _joules_per_step(data: StudyData) -> pd.DataFrame:
    """The trainings of the layer study that do the steps which are attributed, with the joules of one."""
    layers = finished_layers(data)
    layers = layers[(layers["protocol"] == "corrected") & ~layers["stacked"].astype(bool)]
    specs = layers[["network", "linear_layers", "conv_layers", "relu", "dense_relu"]].itertuples(index=False)
    names = [network_name(NetworkSpec(row[0], int(row[1]), int(row[2]), bool(row[3]), bool(row[4]))) for row in specs]
    return layers.assign(step_j=layers["gross_j"] / layers["steps"], name=names)
