"""Figures and sentences of the tuning study: what they show and say of searches worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from greenai_utils.errors import Gap
from greenai_utils.recording.study import resolve
from greenai_utils.report.outputs import as_csv, from_csv
from greenai_utils.search.strategies import STRATEGIES
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.drawing import style
from greenai_utils.studies.tuning import STUDY, sentences
from tests.studies.tuning.test_tables import TWO, protocols, scores, search, study, trial

DRAWN = [name for name in STUDY.figures if name != "01-energy-aware"]
SHARED = trial(0.9, imputed_j=30.0) | {"gross_j": None, "net_j": None}


def table(data: StudyData, name: str) -> pd.DataFrame:
    """A table as its CSV file holds it."""
    return from_csv(as_csv(resolve(STUDY.tables[name])(data)))


def draw(data: StudyData, name: str, **arguments: Any) -> Figure:
    """A figure from the tables that it is registered with."""
    spec = STUDY.figures[name]
    return resolve(spec.draw)(*(table(data, each) for each in spec.tables), **arguments)


def words(figure: Figure) -> list[str]:
    """All text of a figure, laid out once as when it is saved."""
    with style():
        figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")) if text.get_text()]


def panel(figure: Figure, title: str) -> Any:
    return next(axes for axes in figure.axes if title in (axes.get_title(loc="left"), axes.get_title()))


@pytest.fixture(scope="module")
def every() -> StudyData:
    """Every strategy from three seeds, in one cell."""
    rows = []
    for place, name in enumerate(STRATEGIES):
        for seed in range(3):
            rows += search(name, seed, scores(0.5, 0.8 + 0.01 * place + 0.001 * seed, None))
    return study(rows + protocols(protocol="fault:reshuffle", test_accuracy=0.7))


@pytest.mark.parametrize("name", DRAWN)
def test_every_strategy_is_named_and_axes_have_units(name: str, every: StudyData) -> None:
    shown = words(draw(every, name))
    assert set(STRATEGIES) <= set(shown)
    assert any(unit in text for text in shown for unit in ("(J", "oints", "Probability"))


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("rows", [TWO, TWO[:3], TWO[:6]], ids=["two", "one search", "one strategy"])
def test_small_studies_can_be_drawn(name: str, rows: list[dict[str, Any]]) -> None:
    assert words(draw(study(rows), name))


@pytest.mark.parametrize("name", DRAWN)
def test_populations_and_rungs_can_be_drawn(name: str, data: StudyData) -> None:
    other = StudyData(data.profile, data.trials[data.trials["space"] != data.profile.tuning.space])
    assert "hyperband" in set(other.tuning["strategy"])
    assert (other.tuning["joules_basis"] == "imputed").all()
    for records in (data, other):
        assert words(draw(records, name))


def test_best_so_far_holds_the_median_of_the_searches() -> None:
    figure = draw(study(TWO), "01-best-so-far")
    line = panel(figure, "tpe").lines[-2]  # the last is the target
    assert line.get_ydata()[0] == pytest.approx((1.0 + 0.97) / 2)
    assert line.get_ydata()[-1] == pytest.approx((1.0 + 0.98) / 2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tpe", "random"]  # the cheapest first


def test_the_target_is_the_readers_choice() -> None:
    for target, shown in ((0.9, "0.9000"), (0.95, "0.9500"), (0.99, "0.9900")):
        assert f"dashed: the target, {shown}" in words(draw(study(TWO), "01-best-so-far", target=target))[-1]


def test_the_share_at_the_target_rises_and_censored_searches_are_ticked() -> None:
    figure = draw(study(TWO), "01-reaching-target")
    lines = panel(figure, "random").lines
    curve = next(line for line in lines if line.get_linewidth() == 1.6)
    assert list(curve.get_xdata()) == [0.0, 20.0, 40.0]
    assert list(curve.get_ydata()) == [0.0, 0.5, 0.5]
    ticks = next(line for line in lines if line.get_marker() == "|")
    assert list(ticks.get_xdata()) == [40.0]
    assert {"1 of 2", "2 of 2"} <= set(words(figure))


def test_searches_that_never_get_there_are_hollow() -> None:
    axes = panel(draw(study(TWO), "01-energy-to-target"), "95 % of the best: 0.9500")
    points = [each for each in axes.collections if isinstance(each, PathCollection)]
    hollow = [each for each in points if len(each.get_facecolor()) == 0]
    assert [len(each.get_offsets()) for each in points if each not in hollow] == [2, 1]
    assert [len(each.get_offsets()) for each in hollow] == [0, 1]
    assert hollow[1].get_offsets()[0, 0] == 40.0


def test_the_heat_map_reads_row_beats_column() -> None:
    figure = draw(study(TWO), "01-pairwise", quantities=["test_accuracy", "energy_to_target_j"])
    for axes in figure.axes[:2]:
        better = axes.images[0].get_array().filled(np.nan)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["tpe", "random"]
        assert better[0, 1] == 1.0  # more accurate, and fewer joules
        assert better[1, 0] == 0.0


def test_what_weighs_joules_is_shown_where_hyperparameters_cost_energy() -> None:
    with pytest.raises(Gap, match="no searches of it"):
        draw(study(TWO), "01-energy-aware")
    rows = [row for seed in range(2) for row in search("random", seed, scores(0.5, 0.96, 0.9), space="costly")]
    for seed, joules in enumerate((2.0, 4.0)):
        cheap = [trial(0.5, joules), trial(1.0, joules)]
        rows += search("energy_tpe", seed, cheap, space="costly")
    figure = draw(study([*TWO, *rows]), "01-energy-aware")
    left, right = figure.axes
    assert [text.get_text() for text in right.get_yticklabels()] == ["energy_tpe", "random"]  # the cheaper first
    means = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert means == pytest.approx([(4.0 + 8.0) / 2, 20.0])
    assert left.lines[0].get_ydata()[-1] == 1.0
    assert any("costly" in text and "2 searches each" in text for text in words(figure))


def test_protocol_effects_are_in_points_and_per_cent() -> None:
    rows = protocols(protocol="fault:reshuffle", test_accuracy=0.7, gross_j=12.0)
    figure = draw(study([*TWO, *rows]), "01-protocol-effects")
    accuracy, _, joules = figure.axes[:3]
    assert accuracy.lines[-1].get_xdata()[0] == pytest.approx(-10.0)
    assert joules.lines[-1].get_xdata()[0] == pytest.approx(20.0)
    assert "batches never reshuffled" in words(figure)


def test_bars_of_trainings_add_up_and_the_tuner_stands_apart() -> None:
    left, right = draw(study(search("random", 0, [trial(0.9), trial(None, 5.0)])), "01-costs").axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([6.0, 4.0, 5.0])  # net, idle, diverged
    assert [bar.get_width() for bar in right.patches] == pytest.approx([1.0])
    assert "estimate" in right.get_xlabel()


@pytest.mark.parametrize("name", ["01-best-so-far", "01-reaching-target", "01-energy-to-target", "01-costs"])
def test_imputed_joules_are_named_on_the_figure(name: str) -> None:
    data = study([row for each in ("random", "tpe") for row in search(each, 0, [trial(0.8), SHARED])])
    assert any("75 %" in text and "imputed" in text for text in words(draw(data, name)))


# --- sentences


def test_what_members_are_charged_is_said() -> None:
    assert "all 12 trainings were taken over that training alone" in sentences.joules_of_searches(
        table(study(TWO), "tuning_costs")
    )
    shared = {**SHARED, "share_j": 6.0}
    said = sentences.joules_of_searches(table(study(search("random", 0, [trial(0.8), shared])), "tuning_costs"))
    assert said.startswith("1 of 2 trainings ran many at once")
    assert "75 % of the joules" in said
    assert said.endswith("What the machine really spent is 16 J.")


def test_the_cheapest_strategy_is_named_with_its_joules() -> None:
    said = sentences.cheapest_strategy(table(study(TWO), "tuning_energy_to_target"))
    assert "a validation accuracy of 0.9500, 95 % of the best" in said
    assert "**tpe** gets there for the fewest joules: 10 J (10 J to 10 J) on average, counting at most 40 J" in said
    assert "100 % of its 2 searches" in said


def test_pairs_that_differ_by_more_than_luck_are_counted() -> None:
    rows = [row for seed in range(8) for row in search("random", seed, scores(0.5 + 0.01 * seed))]
    rows += [row for seed in range(8) for row in search("tpe", seed, scores(0.9 + 0.001 * seed))]
    said = sentences.clear_pairs(table(study(rows), "tuning_pairwise"))
    # eight differences of one sign: p = 2 / 2^8
    assert "in the best validation accuracy: 1 of 1 pairs differ (Holm p < 0.05); the clearest: `tpe` beats" in said
    assert "`random` with probability 1.00" in said


def test_costs_keep_sources_apart() -> None:
    said = sentences.what_searches_cost(table(study(TWO), "tuning_costs"))
    assert "took 30 J to 35 J, by strategy; 7.7 % of all joules went into 1 trainings that diverged" in said
    assert "That is not the source of the trainings' joules (nvml)" in said
    rows = [{**row, "source": "estimate", "net_j": row["gross_j"]} for row in TWO]
    said = sentences.what_searches_cost(table(study(rows), "tuning_costs"))
    assert "Idle power lies outside this estimate's model" in said
    assert "not the source" not in said


def test_what_choosing_by_test_accuracy_adds_is_said() -> None:
    better_on_test = [trial(0.9, test_accuracy=0.8), trial(0.8, test_accuracy=0.85)]
    data = study([row for seed in range(2) for row in search("random", seed, better_on_test)])
    said = sentences.what_users_get(table(data, "tuning_summary"), table(data, "tuning_protocol_effects"))
    assert "a test accuracy 10.00 percentage points below it" in said
    assert "would be 5.00 (`random`) to 5.00 (`random`) percentage points higher" in said
