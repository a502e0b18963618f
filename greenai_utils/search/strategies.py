"""Search strategies by name."""

import inspect
from collections.abc import Mapping

from greenai_utils.search.base import Strategy, Suggestion, Told, check_startup
from greenai_utils.search.energy_aware import EnergyAwareParzen
from greenai_utils.search.gaussian_process import GaussianProcessSearch, TwoObjectiveSearch
from greenai_utils.search.halving import Hyperband, SuccessiveHalving
from greenai_utils.search.hyperopt import Annealing, RandomSearch, TreeParzenEstimator
from greenai_utils.search.published import PublishedGaussianProcess, PublishedGrid, PublishedRandom
from greenai_utils.search.sampling import GridSearch, SobolSearch
from greenai_utils.search.spaces import Space
from greenai_utils.validation import check_name

__all__ = ["STRATEGIES", "Strategy", "Suggestion", "Told", "make_strategy"]

STRATEGIES: Mapping[str, type[Strategy]] = {
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


def make_strategy(name: str, space: Space, seed: int, trials: int, startup: int = 20) -> Strategy:
    """A strategy by its name, before its first question.

    Args:
        name: One of `STRATEGIES`.
        space: What may be changed.
        seed: Zero or more; decides every random choice.
        trials: The budget, in trainings of full length; at least 1.
        startup: The trials after which a model-based strategy trusts its model; others have no use for it.

    Raises:
        InputError: There is no such strategy, or a number is out of range.
    """
    check_name("a strategy", name, STRATEGIES)
    check_startup(startup)
    strategy = STRATEGIES[name]
    settings = {"startup": startup} if "startup" in inspect.signature(strategy).parameters else {}
    return strategy(space, seed, trials, **settings)
