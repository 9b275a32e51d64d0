"""
Several processes that train one network, the ranks: ``mpiexec -n 4 python train.py``.

Each rank computes the gradient of its part of the batch; the sum of these is that of the whole batch.
"""

from typing import TYPE_CHECKING, Any

from portanet.distributed.base import Communicator, Local, RankFailed
from portanet.distributed.launch import find_communicator, n_launched
from portanet.distributed.threads import Threads, run_threads

if TYPE_CHECKING:
    from portanet.distributed.mpi import MPI

__all__ = ["MPI", "Communicator", "Local", "RankFailed", "Threads", "find_communicator", "n_launched", "run_threads"]


def __getattr__(name: str) -> Any:
    if name == "MPI":  # needs mpi4py
        from portanet.distributed.mpi import MPI

        return MPI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
