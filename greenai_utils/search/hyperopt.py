"""Random search, annealing and the tree-structured Parzen estimator, as hyperopt has them.

hyperopt's own loop, `fmin`, restarts its sequence of seeds when a search is resumed, so that a resumed search repeats
suggestions (hyperopt issue 809). Here the n-th suggestion takes the n-th seed of the search's generator, drawn as
`fmin` draws it: an unbroken search makes the suggestions of `fmin` from the same seed, and a resumed one makes those of
the unbroken.

Importing hyperopt takes one to two seconds.
"""

from functools import partial
from typing import Any

from hyperopt import STATUS_OK, Trials, anneal, hp, rand, tpe
from hyperopt.base import Domain

from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.spaces import Space


def hyperopt_space(space: Space) -> dict[str, Any]:
    """The space in hyperopt's terms.

    Whole numbers are drawn from an interval that reaches half a step beyond both bounds and rounded, so that the bounds
    are as likely as any other; a draw of exactly such an end can round to a neighbour outside, which `Dimension.native`
    moves back.
    """
    found = {}
    for each in space.dimensions:
        real, integer = (hp.loguniform, hp.qloguniform) if each.scale == "log" else (hp.uniform, hp.quniform)
        draw, step = (integer, (1,)) if each.kind == "integer" else (real, ())
        found[each.name] = draw(each.name, *each.scaled_bounds, *step)
    return found


class HyperoptStrategy(Strategy):
    """A strategy that hyperopt furnishes: `draw` is its function of new ids, domain, trials and seed.

    hyperopt minimises: it is told the score with its sign changed.
    """

    draw: Any

    def _prepare(self) -> None:
        self._domain = Domain(None, hyperopt_space(self.space), pass_expr_memo_ctrl=False)
        self._documents = Trials()

    def _suggest(self, index: int, seed: int) -> Suggestion:
        if index:
            self._documents.trials[-1]["result"] = {"status": STATUS_OK, "loss": -self.history[-1].score}
        documents = self.draw(self._documents.new_trial_ids(1), self._domain, self._documents, seed)
        self._documents.insert_trial_docs(documents)
        self._documents.refresh()
        values = documents[0]["misc"]["vals"]
        dimensions = self.space.dimensions
        return Suggestion(index, {each.name: each.native(float(values[each.name][0])) for each in dimensions})


class RandomSearch(HyperoptStrategy):
    """Independent draws, uniform on each dimension's scale (Bergstra and Bengio 2012)."""

    name = "random"
    draw = staticmethod(rand.suggest)


class Annealing(HyperoptStrategy):
    """Draws around one of the best configurations so far, from a neighbourhood that shrinks as trials go by.

    hyperopt's variant of simulated annealing (Bergstra, Yamins and Cox 2013): its temperature depends on the number of
    trials alone.
    """

    name = "anneal"
    draw = staticmethod(anneal.suggest)


class TreeParzenEstimator(HyperoptStrategy):
    """Draws from a density of the best configurations where the density of the others is low (Bergstra et al. 2011)."""

    name = "tpe"

    def _prepare(self) -> None:
        super()._prepare()
        self.draw = partial(tpe.suggest, n_startup_jobs=self.startup, verbose=False)
