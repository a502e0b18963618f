"""A time limit that is kept by not beginning what may not end within it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeIsUp(Exception):
    """What is left is shorter than the longest that a piece of work has taken."""


class Deadline:
    """Lets pieces of work begin only while the longest so far would end in time.

    Args:
        limit_s: From now on, in seconds; None for no limit.
        clock: Tells the time in seconds.
    """

    def __init__(self, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if limit_s is None else clock() + limit_s
        self._longest_s = 0.0

    def learn(self, seconds: float) -> None:
        """Hear how long a piece of work took."""
        self._longest_s = max(seconds, self._longest_s)

    def require(self, before_s: float = 0.0) -> None:
        """See that there is time for another piece of work, and for what has to come before it.

        Raises:
            TimeIsUp: There is not.
        """
        if self._end is not None and self._clock() + before_s + self._longest_s >= self._end:
            raise TimeIsUp

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Do a piece of work in the block, and learn from it."""
        begun = self._clock()
        yield
        self.learn(self._clock() - begun)
