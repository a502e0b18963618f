"""Tables of the authors' data, with source and boundary of its joules."""

from collections.abc import Callable

import pandas as pd

from greenai_utils.stats.checks import Columns
from greenai_utils.studies.data import StudyData, Table
from greenai_utils.studies.published import analysis, layer_analysis
from greenai_utils.studies.published.authors import BOUNDARY, SOURCE


def _table(build: Callable[..., pd.DataFrame], *parts: str, apart: Columns = ()) -> Table:
    """The table that a function builds of parts of `PublishedData`."""

    def built(data: StudyData) -> pd.DataFrame:
        return build(*(getattr(data.published, part) for part in parts)).assign(source=SOURCE, boundary=BOUNDARY)

    return Table(built, apart)


trials = _table(analysis.trials_table, "tuning", "layers").exact  # their own rows keep all their digits
tuning_energy_to_target = _table(analysis.energy_to_target, "tuning")
tuning_cells_won = _table(lambda tuning: analysis.cells_won(analysis.energy_to_target(tuning)), "tuning")
tuning_wasted_energy = _table(analysis.wasted_energy, "tuning")
tuning_energy_spread = _table(analysis.energy_spread, "tuning")
tuning_front = _table(analysis.tuning_front, "tuning")
tuning_hypervolume = _table(analysis.tuning_hypervolume, "tuning")
study_energy = _table(analysis.study_energy, "tuning", "layers")
layer_anova = _table(layer_analysis.layer_anova, "layers")
layer_posthoc = _table(layer_analysis.layer_post_hoc, "layers")
kruskal = _table(layer_analysis.layer_kruskal, "layers")
layer_front = _table(layer_analysis.layer_front, "layers")
configuration_variance = _table(layer_analysis.configuration_variance, "layers")
reproduction = _table(layer_analysis.reproduction, "layers", "shown", apart=("table", "column"))
