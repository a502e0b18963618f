"""What the authors' layer study says: their analysis rebuilt to the digits they show, and three beside it.

Functions take the frame of `archives.layer_trainings`. Joules are those of one training on the GPU.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import combinations
from math import isfinite

import numpy as np
import pandas as pd

from greenai_utils.stats.anova import factorial_anova, kruskal_wallis, tukey_posthoc
from greenai_utils.stats.clusters import clustered_anova, mixed_model
from greenai_utils.stats.fronts import pareto_front
from greenai_utils.studies.published import archives

FACTORS = list(archives.FACTORS.values())
"""Linear layers, convolutions, ReLU."""
RESPONSE = "energy_j"


def _each_dataset(layers: pd.DataFrame, analyse: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    parts = layers.groupby("dataset", sort=False)
    return pd.concat([analyse(part).assign(dataset=dataset) for dataset, part in parts], ignore_index=True)


def layer_anova(layers: pd.DataFrame) -> pd.DataFrame:
    """Analyses of variance of the layer study's energy: the authors', and three that respect the configurations.

    The authors took the 24 trainings of a configuration for 24 independent observations. They resemble each other, so
    that the errors come out too small.

    Returns:
        dataset, analysis, factor (an interaction joins names with `:`; the last is `Residual`), sum_sq, df, f, p,
        eta_sq. The analyses:

        - `as_published`: Type III, every training an independent observation.
        - `configuration_means`: the same on the mean of each configuration in each cell.
        - `cluster_robust`: all trainings, errors robust to what those of one configuration share
          (`clusters.clustered_anova`).
        - `configuration_random`: a mixed model in which the energy and the effects of linear layers and convolutions
          vary from configuration to configuration (`clusters.mixed_model`); f is Wald's chi squared over df.

        The last two have neither sums of squares of their own nor a residual.
    """

    def analyse(part: pd.DataFrame) -> pd.DataFrame:
        means = part.groupby([*FACTORS, "configuration"])[RESPONSE].mean().reset_index()
        mixed = mixed_model(part, RESPONSE, FACTORS, "configuration", slopes=["linear", "conv"]).tests
        analyses = {
            "as_published": factorial_anova(part, RESPONSE, FACTORS),
            "configuration_means": factorial_anova(means, RESPONSE, FACTORS),
            "cluster_robust": clustered_anova(part, RESPONSE, FACTORS, "configuration"),
            "configuration_random": mixed.assign(f=mixed["chi_sq"] / mixed["df"]),
        }
        return pd.concat([table.assign(analysis=name) for name, table in analyses.items()])

    return _each_dataset(layers, analyse)[["dataset", "analysis", "factor", "sum_sq", "df", "f", "p", "eta_sq"]]


def layer_post_hoc(layers: pd.DataFrame) -> pd.DataFrame:
    """Tukey's pairwise comparisons of energy for every factor and interaction, as the authors computed them.

    Returns:
        The columns of `anova.tukey_posthoc`, and dataset.
    """
    terms = [list(term) for size in (1, 2, 3) for term in combinations(FACTORS, size)]
    return _each_dataset(
        layers, lambda part: pd.concat([tukey_posthoc(part, RESPONSE, FACTORS, term) for term in terms])
    )


def layer_kruskal(layers: pd.DataFrame) -> pd.DataFrame:
    """Kruskal-Wallis rank tests of energy, one for each factor of the layer study, as the authors computed them.

    Returns:
        dataset, factor, h (corrected for ties), df, p (0 where it is below the smallest number).
    """
    table = _each_dataset(layers, lambda part: kruskal_wallis(part, RESPONSE, FACTORS))
    return table[["dataset", "factor", "h", "df", "p"]]


def reproduction(layers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Hold every number that the authors' tables show against ours.

    Args:
        layers: Trainings of the layer study.
        shown: See `archives.shown_numbers`.

    Returns:
        One row a number: dataset, table (ANOVA, post hoc, Kruskal-Wallis), row, column, ours, shown, agrees (see
        `agrees_as_shown`; a row that we lack has NaN and does not agree).
    """
    variance = _each_dataset(layers, lambda part: factorial_anova(part, RESPONSE, FACTORS))
    pairs = layer_post_hoc(layers).rename(columns={"difference": "mean_difference"})
    turned = pairs.assign(a=pairs["b"], b=pairs["a"], mean_difference=-pairs["mean_difference"], t=-pairs["t"])
    pairs = pd.concat([pairs, turned], ignore_index=True)
    tables = {
        "ANOVA": variance.assign(row=variance["factor"], mean_sq=variance["sum_sq"] / variance["df"]),
        "post hoc": pairs.assign(row=pairs["term"] + " " + pairs["a"] + " - " + pairs["b"]),
        "Kruskal-Wallis": layer_kruskal(layers).rename(columns={"factor": "row"}),
    }
    key = ["dataset", "table", "row", "column"]
    ours = [
        table.melt(["dataset", "row"], archives.COLUMNS[name], "column", "ours").assign(table=name)
        for name, table in tables.items()
    ]
    table = shown.merge(pd.concat(ours), "left", key)
    table["agrees"] = [agrees_as_shown(value, text) for value, text in zip(table["ours"], table["shown"], strict=True)]
    return table[[*key, "ours", "shown", "agrees"]]


def agrees_as_shown(value: float, shown: str) -> bool:
    """Whether a number, rounded to the digits that a JASP table shows, is the number shown.

    Args:
        value: Ours.
        shown: The table's text: `-61.063`, `2.864e+6`, or `< .001`.
    """
    if not isfinite(value):
        return False
    if shown.startswith("<"):
        return value < float(shown[1:])
    last_digit = Decimal(1).scaleb(int(Decimal(shown).as_tuple().exponent))
    return abs(Decimal(float(value)) - Decimal(shown)) <= last_digit * Decimal("0.5000001")


def configuration_variance(layers: pd.DataFrame) -> pd.DataFrame:
    """How much of the energy's variance in a cell belongs to its configurations rather than to repeated training.

    The moment estimators of the balanced one-way random-effects model (Searle, Casella, McCulloch 1992, section 3.5).

    Returns:
        One row a cell: dataset, linear, conv, relu, mean_j, accuracy, within_sd_j (between trainings of a
        configuration), between_sd_j (between configurations; 0 where the estimate is negative), icc (share of the
        variance between configurations), design_effect (variance of the mean against that of as many independent
        trainings), effective_n (independent trainings that would tell as much).
    """
    configurations = layers.groupby(["dataset", *FACTORS, "configuration"]).agg(
        mean_j=(RESPONSE, "mean"), variance=(RESPONSE, "var"), n=(RESPONSE, "size"), accuracy=("accuracy", "mean")
    )
    cells = configurations.groupby(["dataset", *FACTORS])
    table = cells[["mean_j", "accuracy"]].mean()
    repeats = cells["n"].mean()
    within = cells["variance"].mean()
    between = (cells["mean_j"].var() - within / repeats).clip(lower=0)
    table["within_sd_j"] = np.sqrt(within)
    table["between_sd_j"] = np.sqrt(between)
    table["icc"] = between / (between + within)
    table["design_effect"] = 1 + (repeats - 1) * table["icc"]
    table["effective_n"] = cells["n"].sum() / table["design_effect"]
    return table.reset_index()


def layer_front(layers: pd.DataFrame) -> pd.DataFrame:
    """Mean energy and accuracy of the layer study's networks, and which of them no other network beats in both.

    Returns:
        One row a cell: dataset, linear, conv, relu, energy_j, accuracy, on_front.
    """
    cells = layers.groupby(["dataset", *FACTORS])[[RESPONSE, "accuracy"]].mean().reset_index()
    fronts = [pareto_front(part, maximise="accuracy", minimise=RESPONSE) for _, part in cells.groupby("dataset")]
    return cells.assign(on_front=cells.index.isin(pd.concat(fronts).index))
