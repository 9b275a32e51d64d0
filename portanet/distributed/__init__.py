"""
Several processes that train one network, the ranks: ``mpiexec -n 4 python train.py``.

Each rank computes the gradient of its part of the batch; the sum of these is that of the whole batch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from portanet.distributed.base import Communicator, Local, RankFailed
from portanet.distributed.launch import find_communicator, n_launched
from portanet.distributed.threads import Threads, run_threads

if TYPE_CHECKING:
    from portanet.distributed.mpi import MPI
    from portanet.distributed.nccl import NCCL
    from portanet.distributed.tcp import TCP

__all__ = [
    "MPI",
    "NCCL",
    "TCP",
    "Communicator",
    "Local",
    "RankFailed",
    "Threads",
    "find_communicator",
    "n_launched",
    "run_threads",
]


def __getattr__(name: str) -> Any:
    if name in ("MPI", "NCCL", "TCP"):  # they need mpi4py, CuPy and the sockets of the standard library
        return getattr(import_module(f"portanet.distributed.{name.lower()}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
