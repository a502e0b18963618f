"""One network, data set, strategy, meter and study each added from outside, from the plan to the figure."""

import inspect
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pydantic.dataclasses import dataclass

from greenai_utils import open_study, paths
from greenai_utils.energy.counters import Counter
from greenai_utils.energy.meter import METERS
from greenai_utils.networks.sources import SOURCES, Arrays, Source
from greenai_utils.networks.specification import NETWORKS, Architecture, NetworkSpec
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import STRICT, Count, Profile, TaskSettings
from greenai_utils.recording.session import Session
from greenai_utils.recording.study import FigureSpec, Study, Trainings
from greenai_utils.report.outputs import make_table, write_figures
from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.strategies import STRATEGIES
from greenai_utils.studies import STUDIES, find_series, load_profile
from greenai_utils.studies.data import StudyData, with_source
from greenai_utils.studies.drawing import styled


def stripes() -> list[Arrays]:
    """Images of two classes: bright above, or bright below."""
    labels = np.arange(200) % 2
    images = np.random.default_rng(0).integers(0, 50, (200, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :4] += 200
    images[labels == 1, :, 4:] += 200
    return [(images, labels)]


class Corners(Strategy):
    """Goes from corner to corner of the space."""

    name = "corners"

    def _suggest(self, index: int, generator: np.random.Generator) -> Suggestion:
        corner = [float(index >> place & 1) for place in range(len(self.space.dimensions))]
        return Suggestion(index, self.space.from_unit(corner))


class Bench(Counter):
    """A supply on the bench that gives 20 W, whatever runs."""

    source, boundary, period_s, idle_w = "bench supply", "cpu", 0.0, 0.0

    def read(self) -> dict[str, float]:
        return {"cpu": 20 * time.perf_counter()}

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float:
        return 0.01 * energy_j["cpu"]


@dataclass(frozen=True, config=STRICT)
class DepthSettings:
    """How deep to go."""

    task: TaskSettings
    deepest: Count = 3


def plan(profile: Profile) -> list[Step]:
    task, depths = profile.depth.task, range(1, profile.depth.deepest + 1)
    networks = [NetworkSpec(task.network, depth) for depth in depths]
    return [Step(make_trial(task, {"learning_rate": 1e-3}, network=network), {}) for network in networks]


def by_depth(data: StudyData) -> pd.DataFrame:
    return with_source(data.trained("depth")[["linear_layers", "gross_j", "duration_s"]], data)


@styled
def joules_by_depth(table: pd.DataFrame) -> Figure:
    figure = Figure()
    figure.subplots().plot(table["linear_layers"], table["gross_j"])
    return figure


STUDY = Study(
    "depth",
    "07-depth",
    settings={"depth": DepthSettings},
    series=(Trainings("depth", plan, "depths"),),
    tables={"depth": by_depth},
    figures={"07-depth": FigureSpec(joules_by_depth, ("depth",), "Deeper takes longer.", "A line that rises.")},
)

PROFILE = """
base: smoke
meter: {name: bench, warmup_s: 0}
depth: {task: {dataset: stripes, network: straight, epochs: 9, batch_size: 20}}
tuning:
  task: {dataset: stripes, network: straight, epochs: 9, batch_size: 20}
  strategies: [corners]
  seeds: 1
  others: []
"""


@pytest.fixture
def profile(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(NETWORKS, "straight", Architecture(lambda layers, _: [16] * (layers - 1)))
    sha256 = "814b959da1224dc736230d44b37b89e635869d36bd7bfcb03324a16a16b4b226"
    monkeypatch.setitem(SOURCES, "stripes", Source((1, 8, 8), 2, (120, 40, 40), sha256, read=stripes))
    monkeypatch.setitem(STRATEGIES, "corners", Corners)
    monkeypatch.setitem(METERS, "bench", lambda watts_per_core: Bench())
    monkeypatch.setitem(STUDIES, "depth", STUDY)
    file = tmp_path / "own.yaml"
    file.write_text(PROFILE)
    return str(file)


def test_what_is_added_from_outside_goes_all_the_way(profile: str) -> None:
    loaded = load_profile(profile)
    session = Session(loaded)
    assert session.run(find_series("depth")).trained == 3
    assert session.run(find_series("tuning")).trained == loaded.tuning.trials
    session.close("done")
    study = open_study("depth", profile)
    table = study.table("depth")
    assert list(table["linear_layers"]) == [1, 2, 3]
    assert set(table["source"]) == {"bench supply"}
    np.testing.assert_allclose(table["gross_j"], 20 * table["duration_s"], rtol=0.02)
    trials = study.table("trials")
    assert set(trials["strategy"].dropna()) == {"corners"}
    assert trials["validation_accuracy"].max() == 1.0  # bright above and bright below are told apart
    assert study.figure("07-depth", joules_by_depth(table)).data
    data = StudyData.read(loaded)
    for name in ("depth", "trials"):
        (paths.tables_folder("own") / f"{name}.csv").parent.mkdir(exist_ok=True, parents=True)
        (paths.tables_folder("own") / f"{name}.csv").write_text(make_table(data, name))
    assert write_figures(loaded, ["07-depth"]) == ["07-depth"]


@pytest.mark.parametrize("entry", [stripes, Corners, Bench, DepthSettings, plan, by_depth, joules_by_depth])
def test_an_entry_takes_fewer_than_twenty_lines(entry: Callable[..., object]) -> None:
    assert len(inspect.getsource(entry).splitlines()) < 20
