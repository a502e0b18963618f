"""Sentences about layers: which of them take the energy, whether a step adds up, and how well it is predicted."""

import pandas as pd

from greenai_utils.costs.closure import totals
from greenai_utils.costs.forecasts import OURS
from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.studies.layers.tables import FACTORS, MEANS

UNITS = {
    "flops": (1e9, "GFLOP"),
    "bytes": (1e9, "GB"),
    "kernels": (1e3, "1,000 launches"),
    "steps": (1e3, "1,000 steps"),
}


def dearest_factor(anova: pd.DataFrame, cells: pd.DataFrame, alpha: float = 0.05) -> str:
    """Which layers cost how much, by whole trainings.

    Args:
        anova: The table `layer_anova`.
        cells: The table `layer_cells`.
        alpha: A p value below which a factor counts as having an effect.
    """
    said = []
    for dataset, own in anova[anova["analysis"] == MEANS].groupby("dataset", sort=False):
        effects = own[own["factor"] != RESIDUAL].sort_values("eta_sq", ascending=False)
        clear = ", ".join(f"`{name}`" for name in effects.loc[effects["p"] < alpha, "factor"]) or "none"
        grown = []
        for factor in FACTORS:
            levels = cells[cells["dataset"] == dataset].groupby(factor)["mean_net_j"].mean()
            ratio = levels.iloc[-1] / levels.iloc[0]
            grown.append(f"{ratio:.2f} times (`{factor}`, {levels.index[0]} to {levels.index[-1]})")
        said.append(
            f"**{dataset}**: `{effects['factor'].iloc[0]}` explains most of the variance of net energy: η² = "
            f"{effects['eta_sq'].iloc[0]:.3f}. Effects with p < {alpha}: {clear}. From the lowest to the highest level "
            f"of a factor, averaged over the others, net energy grows {', '.join(grown)}."
        )
    return "\n\n".join(said)


def dearest_types(attribution: pd.DataFrame) -> str:
    """Where the joules of a step go, by type of layer; from `layer_attribution`."""
    lines = []
    for (dataset, network), step in attribution.groupby(["dataset", "network"], sort=False):
        named = [f"`{row.type}` {100 * row.share:.0f} %" for row in totals(step).head(3).itertuples()]
        passes = step.groupby("pass")["share"].sum()
        lines.append(
            f"- **{network}** on {dataset}: {', '.join(named)} of the joules of a step. The backward passes "
            f"take {passes['backward'] / passes['forward']:.1f} times the forward passes, the optimiser "
            f"{100 * passes[passes.index.isin(['optimiser', 'call', 'zero_grad'])].sum():.0f} %."
        )
    return "\n".join(lines)


def residuals(closure: pd.DataFrame, goal_pct: float = 10) -> str:
    """Whether the parts of a step add up to the whole.

    Args:
        closure: The table `layer_closure`.
        goal_pct: How far their sum may lie from the whole to count as closed, in per cent.
    """
    lines = []
    for column, whole in (
        ("residual_pct", "whole steps that were measured in turn with them"),
        ("training_residual_pct", "the steps of the layer study's trainings"),
    ):
        off = closure.set_index("network")[column]
        lines.append(
            f"- Against {whole} the sum of the parts is off by {off.min():+.1f} to {off.max():+.1f} %; within "
            f"{goal_pct} % for {(off.abs() <= goal_pct).sum()} of {len(off)} networks. The largest residual is that of "
            f"{off.abs().idxmax()}."
        )
    return "\n".join(lines)


def main_drivers(drivers: pd.DataFrame, types: tuple[str, ...] = ("Conv2d", "Linear", "BatchNorm2d")) -> str:
    """Is a layer dear because of its FLOPs, its bytes or its launches?

    Args:
        drivers: The table `layer_cost_drivers`.
        types: Of which layers.
    """
    lines = []
    for row in drivers[drivers["type"].isin(types)].itertuples():
        share = max(row.flops_share, row.bytes_share, row.kernels_share)
        lines.append(
            f"- `{row.type}` by {row.evidence}: mostly because of its **{row.mostly}** ({100 * share:.0f} % of the "
            f"modelled joules, the largest share in {100 * row.agree:.0f} % of bootstrap fits). The model gives "
            f"{100 * row.explained:.0f} % of the joules measured."
        )
    return "\n".join(lines)


def coefficients(model: pd.DataFrame) -> str:
    """The fitted model in words; from `energy_model`."""
    each = []
    for row in model.itertuples():
        factor, unit = UNITS[row.term]
        best, low, high = (f"{factor * value:.3g}" for value in (row.joules_per_unit, row.ci_low, row.ci_high))
        each.append(f"{best} J for {unit} ({low} to {high})")
    return f"Fitted on {model['rows'].iloc[0]} micro-benchmarks and parts of steps: {'; '.join(each)}."


def best_prediction(errors: pd.DataFrame) -> str:
    """Which method predicts best before a training begins; from `energy_prediction_errors`."""
    before = errors[(errors["n"] > 0) & ~errors["needs"].str.contains("itself")].set_index("method")["median_ape_pct"]
    ranked = ", ".join(f"`{method}` {error:.1f} %" for method, error in before.sort_values().items())
    return (
        f"Median errors of the methods that predict before the training begins: {ranked}; the model above is `{OURS}`."
    )
