"""Random search, annealing and the tree-structured Parzen estimator, as hyperopt has them.

hyperopt's own loop, `fmin`, restarts its sequence of seeds when a search is resumed, so that a resumed search repeats
suggestions (hyperopt issue 809). Here the n-th suggestion takes the n-th seed of the search's generator, drawn as
`fmin` draws it: an unbroken search makes the suggestions of `fmin` from the same seed, and a resumed one makes those of
the unbroken.

Importing hyperopt takes one to two seconds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from hyperopt import STATUS_OK, Trials, anneal, hp, rand, tpe
from hyperopt.base import Domain

from greenai_utils.search.base import Strategy, Suggestion, Told, check_startup
from greenai_utils.search.spaces import Dimension, Space


def hyperopt_space(space: Space) -> dict[str, Any]:
    """The space in hyperopt's terms.

    Whole numbers are drawn from an interval that reaches half a step beyond both bounds and rounded, so that the bounds
    are as likely as any other; a draw of exactly such an end can round to a neighbour outside, which `Dimension.native`
    moves back.
    """
    return {dimension.name: _expression(dimension) for dimension in space.dimensions}


def _expression(dimension: Dimension) -> Any:
    real, integer = (hp.loguniform, hp.qloguniform) if dimension.scale == "log" else (hp.uniform, hp.quniform)
    if dimension.kind == "integer":
        return integer(dimension.name, *dimension.scaled_bounds, 1)
    return real(dimension.name, *dimension.scaled_bounds)


class HyperoptStrategy(Strategy):
    """A strategy that hyperopt furnishes as a `suggest` function.

    hyperopt minimises: it is told the score with its sign changed. It counts an outstanding suggestion as the worst.

    Args:
        space: What may be changed.
        seed: Zero or more.
        trials: The budget, in trainings of full length.
        suggest: hyperopt's function of new ids, domain, trials and seed.
    """

    def __init__(self, space: Space, seed: int, trials: int, suggest: Callable[..., list[dict[str, Any]]]) -> None:
        super().__init__(space, seed, trials)
        self._suggest_documents = suggest
        self._domain = Domain(None, hyperopt_space(space), pass_expr_memo_ctrl=False)
        self._documents = Trials()

    def _suggest(self, index: int, seed: int) -> Suggestion:
        documents = self._suggest_documents(self._documents.new_trial_ids(1), self._domain, self._documents, seed)
        self._documents.insert_trial_docs(documents)
        self._documents.refresh()
        values = documents[0]["misc"]["vals"]
        dimensions = self.space.dimensions
        return Suggestion(index, {each.name: each.native(float(values[each.name][0])) for each in dimensions})

    def _note(self, index: int, told: Told) -> None:
        self._documents.trials[index]["result"] = {"status": STATUS_OK, "loss": -told.score}


class RandomSearch(HyperoptStrategy):
    """Independent draws, uniform on each dimension's scale (Bergstra and Bengio 2012)."""

    name = "random"

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        super().__init__(space, seed, trials, rand.suggest)


class Annealing(HyperoptStrategy):
    """Draws around one of the best configurations so far, from a neighbourhood that shrinks as trials go by.

    hyperopt's variant of simulated annealing (Bergstra, Yamins and Cox 2013): its temperature depends on the number of
    trials alone.
    """

    name = "anneal"

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        super().__init__(space, seed, trials, anneal.suggest)


class TreeParzenEstimator(HyperoptStrategy):
    """Draws from a density of the best configurations where the density of the others is low (Bergstra et al. 2011).

    Args:
        space: What may be changed.
        seed: Zero or more.
        trials: The budget, in trainings of full length.
        startup: So many random trials come first; at least 1, and 20 in hyperopt.

    Raises:
        InputError: The seed, the budget or the start is out of range.
    """

    name = "tpe"

    def __init__(self, space: Space, seed: int, trials: int, startup: int = 20) -> None:
        super().__init__(
            space, seed, trials, partial(tpe.suggest, n_startup_jobs=check_startup(startup), verbose=False)
        )
