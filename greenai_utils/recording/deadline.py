"""A time limit that is kept by not beginning what is not expected to end within it."""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

MARGIN = 1.25
"""Times the longest that anything of a kind has taken is what the next is expected to take at most."""


class TimeIsUp(Exception):
    """What is next would not be expected to end within the limit."""


class Deadline:
    """Lets pieces of work begin only while they can be expected to end in time.

    Args:
        limit_s: From now on, in seconds; None for no limit.
        clock: Tells the time in seconds.
    """

    def __init__(self, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if limit_s is None else clock() + limit_s
        self._longest: dict[Hashable, float] = {}

    def learn(self, kind: Hashable, seconds: float) -> None:
        """Hear how long a piece of work of a kind took."""
        self._longest[kind] = max(seconds, self._longest.get(kind, 0.0))

    def expected_s(self, kind: Hashable) -> float:
        """How long the next piece of a kind may take; of a kind not seen yet, what the longest of all has taken."""
        return MARGIN * self._longest.get(kind, max(self._longest.values(), default=0.0))

    def require(self, kind: Hashable, before_s: float = 0.0) -> None:
        """See that there is time for a piece of work of a kind, and for what has to come before it.

        Raises:
            TimeIsUp: It cannot be expected to end within the limit.
        """
        if self._end is not None and self._clock() + before_s + self.expected_s(kind) >= self._end:
            raise TimeIsUp

    @contextmanager
    def spending(self, kind: Hashable) -> Iterator[None]:
        """Do a piece of work of a kind in the block, and learn from it."""
        begun = self._clock()
        yield
        self.learn(kind, self._clock() - begun)
