"""Finding out what launched this process."""

import os
from importlib import import_module
from typing import Any, Literal

from portanet.checks import check_number, optional
from portanet.distributed.base import TIMEOUT, Communicator, Local

MPIEXEC = "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"
"""Variables in which ``mpiexec`` of Open MPI, and of MPICH or Intel MPI, tells the number of ranks."""

SRUN = "SLURM_STEP_NUM_TASKS"
"""The same of Slurm's ``srun``, which may also start one ``torchrun`` a machine."""

RANK_PID = "PORTANET_RANK_PID"
"""Variable that holds the process of a rank, so that those it starts are not taken for ranks."""


def n_launched() -> int:
    """
    Return how many ranks a launcher started; 1 without one.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> n_launched()
    1
    """
    return _launched()[1]


def _launched() -> tuple[Literal["mpi", "tcp"], int]:
    """Return how the ranks are joined, and how many there are."""
    if os.environ.get(RANK_PID, str(os.getpid())) != str(os.getpid()):
        return "mpi", 1  # a process that a rank has started
    if (size := max(map(_number, MPIEXEC))) > 1:
        return "mpi", size
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        text = os.environ["WORLD_SIZE"]
        if not text.isdecimal() or int(text) < 1:
            raise RuntimeError(f"WORLD_SIZE must be a whole number from 1 on, got {text!r}: set it, or unset RANK")
        if int(text) > 1:
            return "tcp", int(text)
    return "mpi", _number(SRUN)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1


_found: Communicator | None = None


def find_communicator(*, timeout: float | None = None) -> Communicator:
    """
    Return the ranks that ``mpiexec``, ``srun`` or ``torchrun`` started, else this process alone.

    Without a launcher, nothing is imported. Ranks of ``torchrun``, or of any launcher that sets ``RANK`` and
    ``WORLD_SIZE``, are joined by :class:`TCP`, the others by :class:`MPI`.

    Parameters
    ----------
    timeout : float, optional
        Seconds after which a rank that does not answer counts as lost: 300, unless a call sets another time.

    Returns
    -------
    Communicator
        The same object at every call.

    Examples
    --------
    >>> communicator = find_communicator()
    >>> communicator.rank, communicator.size
    (0, 1)
    """
    global _found
    timeout = optional(check_number)("timeout", timeout, above=0)
    if _found is None:
        kind, size = _launched()
        if size == 1:
            return Local()
        # By name: MPI needs mpi4py.
        _found = getattr(import_module(f"portanet.distributed.{kind}"), kind.upper())(timeout=timeout or TIMEOUT)
    if timeout is not None:
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
