"""Finding out what launched this process."""

import os
from importlib import import_module
from typing import Any

from portanet.checks import check_number
from portanet.distributed.base import TIMEOUT, Communicator, Local

SIZES = "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"
"""Variables in which Open MPI, MPICH or Intel MPI, and srun of Slurm tell the number of ranks."""

RANK_PID = "PORTANET_RANK_PID"
"""Variable that holds the process of a rank, so that those it starts are not taken for ranks."""


def n_launched() -> int:
    """
    Return how many ranks a launcher of MPI started; 1 without one.

    Examples
    --------
    >>> n_launched()
    1
    """
    if os.environ.get(RANK_PID, str(os.getpid())) != str(os.getpid()):
        return 1  # a process that a rank has started
    sizes = [os.environ.get(name, "") for name in SIZES]
    return max((int(size) for size in sizes if size.isdecimal()), default=1)


_found: Communicator | None = None


def find_communicator(*, timeout: float = TIMEOUT) -> Communicator:
    """
    Return the ranks that ``mpiexec`` or ``srun`` started, else this process alone; nothing is imported then.

    Parameters
    ----------
    timeout : float
        Seconds after which a rank that does not answer counts as lost; the last call decides.
    """
    global _found
    check_number("timeout", timeout, above=0)
    if _found is None:
        if n_launched() == 1:
            return Local()
        _found = import_module("portanet.distributed.mpi").MPI(timeout=timeout)  # it needs mpi4py
    if timeout != TIMEOUT:
        _found.timeout = timeout
    return _found


def check_communicator(value: Any) -> Communicator:
    """Return a communicator, found out for "auto"; None stands for this process alone."""
    if value == "auto":
        return find_communicator()
    if value is None:
        return Local()
    if not isinstance(value, Communicator):
        raise TypeError(f'communicator must be "auto", None or a Communicator, got {value!r}')
    return value
