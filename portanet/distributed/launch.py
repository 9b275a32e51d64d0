"""Finding out what launched this process."""

import os
from typing import Any

from portanet.distributed.base import Communicator, Local

LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "mpiexec of Open MPI",
    "PMI_SIZE": "mpiexec of MPICH or Intel MPI, or srun",
    "SLURM_STEP_NUM_TASKS": "srun",
}
"""Variables that hold the number of ranks, and what sets them."""


def n_launched() -> int:
    """
    Return how many ranks a launcher of MPI started; 1 without one.

    Examples
    --------
    >>> n_launched()
    1
    """
    sizes = [os.environ.get(name, "") for name in LAUNCHERS]
    return max((int(size) for size in sizes if size.isdecimal()), default=1)


_found: Communicator | None = None


def find_communicator() -> Communicator:
    """Return the ranks that ``mpiexec`` or ``srun`` started, else this process alone; nothing is imported then."""
    global _found
    if _found is None:
        if n_launched() == 1:
            return Local()
        from portanet.distributed.mpi import MPI

        _found = MPI()
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
