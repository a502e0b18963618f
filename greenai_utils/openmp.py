"""How threads of OpenMP wait for their next piece of work: set before torch loads, and recorded."""

import os

WAITING = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "PASSIVE"}
"""A thread without work spins for about 0.1 ms (GNU's OpenMP; others do not) and then sleeps.

The operations of a small network are over in less time than it takes to wake a sleeping thread: on two cores of an AMD
EPYC (Zen 5), the networks of the study take 1.3 to 1.6 times as long on Fashion-MNIST if threads sleep at once, and as
much of the CPU's time (`make bench BENCHMARK=waiting`). To spin for 3 ms, the library's default, gains nothing more,
and burns CPU time, which an estimate counts as joules, in every longer pause.
"""


def wait_briefly() -> None:
    """Set how threads wait in this process and those it starts, unless that is set already; no effect after torch."""
    if not WAITING.keys() & os.environ.keys():
        os.environ.update(WAITING)


def waiting() -> dict[str, str | None]:
    """How threads wait, by the name of the environment variable; None where it is left to the library."""
    return {name: os.environ.get(name) for name in sorted(WAITING)}
