"""The cores of a machine, which its ranks share."""

import os
from collections.abc import Sequence

from portanet.backends import set_num_threads

VARIABLES = "PORTANET_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
"""If one of them is set, it decides the number of threads."""


def usable_cores() -> tuple[int, ...]:
    """Return the cores that this process may use."""
    return tuple(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else tuple(range(os.cpu_count() or 1))


def share_cores(of_ranks: Sequence[tuple[int, ...]]) -> None:
    """Set the number of threads of this rank, from the cores that each rank of the machine may use."""
    if not any(name in os.environ for name in VARIABLES):
        set_num_threads(min(_n_threads(of_ranks), len(usable_cores())))


def _n_threads(of_ranks: Sequence[tuple[int, ...]]) -> int:
    """
    Return the number of threads of a rank.

    Examples
    --------
    >>> _n_threads([(0, 1, 2, 3)] * 2), _n_threads([(0, 1), (2, 3)]), _n_threads([(0,)] * 4)
    (2, 2, 1)
    """
    shared = len({core for cores in of_ranks for core in cores})
    return max(1, shared // len(of_ranks))
