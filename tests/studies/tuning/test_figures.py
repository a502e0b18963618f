"""Figures of the tuning study: what they show, read off the drawn objects."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import SMOKE, record_all
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from greenai_utils.errors import Gap
from greenai_utils.recording.profile import OtherSearches
from greenai_utils.report.figures import FIGURES, style
from greenai_utils.search.strategies import STRATEGIES
from greenai_utils.stats.comparisons import rank_comparison
from greenai_utils.studies.study_data import StudyData
from greenai_utils.studies.tuning.figures import (
    best_so_far_figure,
    costs_figure,
    draw_critical_difference,
    energy_aware_figure,
    energy_to_target_figure,
    pairwise_figure,
    protocol_effects_figure,
    reaching_target_figure,
)
from greenai_utils.studies.tuning.tables import tuning_alone
from tests.studies.tuning.test_tables import TWO, Study, protocols, scores, search, study, trial

DRAWN = [
    best_so_far_figure,
    reaching_target_figure,
    energy_to_target_figure,
    pairwise_figure,
    protocol_effects_figure,
    costs_figure,
]


def words(figure: Figure) -> list[str]:
    """All text of a figure, laid out once as when it is saved."""
    with style():
        figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")) if text.get_text()]


def panel(figure: Figure, title: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title or axes.get_title() == title)


def drawn(draw: Any, data: Study) -> Figure:
    with style():
        return draw(data)


@pytest.fixture(scope="module")
def every() -> Study:
    """Every strategy from three seeds, in one cell."""
    rows = []
    for place, name in enumerate(STRATEGIES):
        for seed in range(3):
            rows += search(name, seed, scores(0.5, 0.8 + 0.01 * place + 0.001 * seed, None))
    return study(rows + protocols(protocol="fault:reshuffle", test_accuracy=0.7))


def test_all_are_registered_under_their_notebook() -> None:
    assert {name: draw for name, draw in FIGURES.items() if name.startswith("01-")} == {
        "01-best-so-far": best_so_far_figure,
        "01-reaching-target": reaching_target_figure,
        "01-energy-to-target": energy_to_target_figure,
        "01-pairwise": pairwise_figure,
        "01-protocol-effects": protocol_effects_figure,
        "01-costs": costs_figure,
    }


@pytest.mark.parametrize("draw", DRAWN)
def test_every_strategy_is_named_and_axes_have_units(draw: Any, every: Study) -> None:
    shown = words(drawn(draw, every))
    assert set(STRATEGIES) <= set(shown)
    assert any(unit in text for text in shown for unit in ("(J", "(points)", "oints", "Probability"))


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("rows", [TWO, TWO[:3], TWO[:6]], ids=["two", "one search", "one strategy"])
def test_small_studies_can_be_drawn(draw: Any, rows: list[dict[str, Any]]) -> None:
    assert words(drawn(draw, study(rows)))


def test_best_so_far_holds_the_median_of_the_searches() -> None:
    figure = drawn(best_so_far_figure, study(TWO))
    line = panel(figure, "tpe").lines[-2]  # the last is the target
    assert line.get_ydata()[0] == pytest.approx((1.0 + 0.97) / 2)
    assert line.get_ydata()[-1] == pytest.approx((1.0 + 0.98) / 2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tpe", "random"]  # the cheapest first


def test_the_share_at_the_target_rises_and_censored_searches_are_ticked() -> None:
    figure = drawn(reaching_target_figure, study(TWO))
    lines = panel(figure, "random").lines
    curve = next(line for line in lines if line.get_linewidth() == 1.6)
    assert list(curve.get_xdata()) == [0.0, 20.0, 40.0]
    assert list(curve.get_ydata()) == [0.0, 0.5, 0.5]
    ticks = next(line for line in lines if line.get_marker() == "|")
    assert list(ticks.get_xdata()) == [40.0]
    assert "1 of 2" in words(figure)
    assert "2 of 2" in words(figure)


def test_searches_that_never_get_there_are_hollow() -> None:
    figure = drawn(energy_to_target_figure, study(TWO))
    axes = panel(figure, "95 % of the best: 0.9500")
    points = [each for each in axes.collections if isinstance(each, PathCollection)]
    hollow = [each for each in points if len(each.get_facecolor()) == 0]
    assert [len(each.get_offsets()) for each in points if each not in hollow] == [2, 1]
    assert [len(each.get_offsets()) for each in hollow] == [0, 1]
    assert hollow[1].get_offsets()[0, 0] == 40.0


def test_the_heat_map_reads_row_beats_column() -> None:
    figure = drawn(pairwise_figure, study(TWO))
    for axes in figure.axes[:2]:
        better = axes.images[0].get_array().filled(np.nan)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["tpe", "random"]
        assert better[0, 1] == 1.0  # more accurate, and fewer joules
        assert better[1, 0] == 0.0


def test_what_weighs_joules_is_shown_where_hyperparameters_cost_energy() -> None:
    with pytest.raises(Gap, match="no searches of such a space"):
        drawn(energy_aware_figure, study(TWO))
    rows = [row for seed in range(2) for row in search("random", seed, scores(0.5, 0.96, 0.9), space="costly")]
    for seed, joules in enumerate((2.0, 4.0)):
        cheap = [trial(0.5, joules), trial(1.0, joules)]
        rows += search("energy_tpe", seed, cheap, space="costly")
    figure = drawn(energy_aware_figure, study([*TWO, *rows]))
    left, right = figure.axes
    assert [text.get_text() for text in right.get_yticklabels()] == ["energy_tpe", "random"]  # the cheaper first
    means = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert means == pytest.approx([(4.0 + 8.0) / 2, 20.0])
    assert left.lines[0].get_ydata()[-1] == 1.0
    assert any("costly" in text and "2 searches each" in text for text in words(figure))


def test_searches_of_other_data_sets_and_spaces_are_cells_to_rank(
    tmp_path: Path,
) -> None:
    """From a profile's settings to the diagram: two data sets, three spaces, three strategies."""
    others = tuple(OtherSearches(space, ("grid", "random", "tpe"), 2) for space in ("published3", "corrected5"))
    tuning = replace(SMOKE.tuning, seeds=2, others=others, other_datasets=("fashion_mnist",))
    profile = replace(SMOKE, tuning=tuning)
    record_all(tmp_path, profile)
    data = StudyData.read(profile, tmp_path)
    assert data.tuning.groupby(["dataset", "space"]).ngroups == 6
    assert len(tuning_alone(data)) == 6
    assert sum("critical difference" in text for text in words(drawn(pairwise_figure, data))) == 2


def test_populations_and_rungs_can_be_drawn(data: StudyData) -> None:
    """The first space of these records was read, the other one trained in populations and climbed rungs."""
    for draw in DRAWN:
        assert words(drawn(draw, data))
    other = StudyData(data.profile, data.trials[data.trials["space"] != data.profile.tuning.space])
    assert (other.tuning["joules_basis"] == "imputed").all()
    assert other.tuning.query("strategy == 'hyperband'")["start"].nunique() == 3


def test_a_critical_difference_diagram_only_over_six_cells() -> None:
    def cells(count: int) -> Study:
        levels = {"grid": 0.5, "random": 0.6, "tpe": 0.7}
        kinds = [(dataset, network) for dataset in ("digits", "fashion_mnist") for network in ("dense_poly", "b", "c")]
        rows = []
        for dataset, network in kinds[:count]:
            for seed in range(2):
                for name, level in levels.items():
                    rows += search(name, seed, scores(level), dataset=dataset, network=network)
        return study(rows)

    assert not any("critical difference" in text for text in words(drawn(pairwise_figure, cells(5))))
    shown = words(drawn(pairwise_figure, cells(6)))
    assert sum("critical difference" in text for text in shown) == 2
    assert any("6 cells" in text for text in shown)


def test_the_diagram_places_ranks_and_joins_cliques() -> None:
    frame = pd.DataFrame(
        [
            {"cell": cell, "name": name, "value": value}
            for cell in range(8)
            for name, value in zip("abc", (3, 2, 1), strict=True)
        ]
    )
    comparison = rank_comparison(frame, "value", "name", "cell")
    figure = Figure()
    axes = figure.subplots()
    draw_critical_difference(axes, comparison)
    shown = [text.get_text().strip() for text in axes.texts]
    assert {"a  1.00", "b  2.00", "c  3.00", f"critical difference {comparison.critical_difference:.2f}"} <= set(shown)
    bars = [each for each in axes.collections if each.get_linewidth()[0] == 3]
    assert len(bars) == len(comparison.cliques) == 2  # a with b, b with c: 1 apart, and the difference is 1.17


def test_protocol_effects_are_in_points_and_per_cent() -> None:
    rows = protocols(protocol="fault:reshuffle", test_accuracy=0.7, gross_j=12.0)
    figure = drawn(protocol_effects_figure, study([*TWO, *rows]))
    accuracy, _, joules = figure.axes[:3]
    assert accuracy.lines[-1].get_xdata()[0] == pytest.approx(-10.0)
    assert joules.lines[-1].get_xdata()[0] == pytest.approx(20.0)
    assert "batches never reshuffled" in words(figure)


def test_a_study_without_other_protocols_says_so() -> None:
    assert "No trainings under other protocols are recorded" in words(drawn(protocol_effects_figure, study(TWO)))


def test_bars_of_trainings_add_up_and_the_tuner_stands_apart() -> None:
    rows = search("random", 0, [trial(0.9), trial(None, 5.0)])
    figure = drawn(costs_figure, study(rows))
    left, right = figure.axes
    assert sum(bar.get_width() for bar in left.patches) == pytest.approx(15.0)
    assert [bar.get_width() for bar in left.patches] == pytest.approx([6.0, 4.0, 5.0])  # net, idle, diverged
    assert [bar.get_width() for bar in right.patches] == pytest.approx([1.0])
    assert "estimate" in right.get_xlabel()


def test_imputed_joules_are_named_on_the_figure() -> None:
    shared = trial(0.9, imputed_j=30.0) | {"gross_j": None, "net_j": None}
    data = study(search("random", 0, [trial(0.8), shared]) + search("tpe", 0, [trial(0.8), shared]))
    for draw in (best_so_far_figure, reaching_target_figure, energy_to_target_figure, costs_figure):
        assert any("75 %" in text and "imputed" in text for text in words(drawn(draw, data))), draw
