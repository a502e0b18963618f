"""Speed and cost as ratios of runs that take turns; never part of the tests.

`python -m benchmarks` compares trainings; the other modules are run by their names.
"""

from greenai_utils.openmp import wait_briefly

wait_briefly()
