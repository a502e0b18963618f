"""Search strategies by name."""

from greenai_utils.search.base import STARTUP, Strategy
from greenai_utils.search.energy_aware import EnergyAwareParzen
from greenai_utils.search.gaussian_process import GaussianProcessSearch, TwoObjectiveSearch
from greenai_utils.search.halving import Hyperband, SuccessiveHalving
from greenai_utils.search.hyperopt import Annealing, RandomSearch, TreeParzenEstimator
from greenai_utils.search.published import PublishedGaussianProcess, PublishedGrid, PublishedRandom
from greenai_utils.search.sampling import GridSearch, SobolSearch
from greenai_utils.search.spaces import Configuration, Space
from greenai_utils.validation import check_name

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (
        PublishedGrid,
        PublishedRandom,
        PublishedGaussianProcess,
        GridSearch,
        RandomSearch,
        SobolSearch,
        Annealing,
        TreeParzenEstimator,
        GaussianProcessSearch,
        SuccessiveHalving,
        Hyperband,
        EnergyAwareParzen,
        TwoObjectiveSearch,
    )
}
"""What profiles may name. A strategy from outside is one entry: `STRATEGIES[Mine.name] = Mine`."""


def make_strategy(name: str, space: Space, seed: int, trials: int, startup: int = STARTUP) -> Strategy:
    """A strategy by its name, before its first question; see `Strategy`.

    Raises:
        InputError: There is no such strategy, or the budget is too small for it.
    """
    check_name("a strategy", name, STRATEGIES)
    return STRATEGIES[name](space, seed, trials, startup)


def random_configurations(space: Space, seed: int, count: int) -> list[Configuration]:
    """The first configurations that random search suggests."""
    search = RandomSearch(space, seed, count)
    while len(search.history) < count:
        search.tell(search.ask(), 0.0)
    return [told.configuration for told in search.history]
