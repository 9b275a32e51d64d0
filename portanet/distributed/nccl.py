"""
Ranks with a GPU each, whose arrays NCCL adds up.

It was tested with a stand-in for NCCL, and has not run on a GPU yet.
"""

import logging
import socket
import time
from functools import cache
from typing import Any

import numpy as np

from portanet.backends import Backend
from portanet.distributed.base import Communicator, RankFailed
from portanet.distributed.launch import find_communicator
from portanet.distributed.within import ends_within
from portanet.typing import Array

logger = logging.getLogger("portanet")

TYPES = {"float32": "NCCL_FLOAT32", "float64": "NCCL_FLOAT64"}
"""Names of NCCL's types."""

DEBUG = "set NCCL_DEBUG=INFO to see its messages"

MAX_POLLS, POLL_SECONDS = 2000, 5e-5
"""Looks at the GPU before a wait begins to sleep between them, and seconds of such a sleep."""


class NCCL(Communicator):
    """
    Ranks that add up arrays of CuPy by NCCL, from GPU to GPU, and exchange all else through another communicator.

    One sum is on its way at a time. The next operation waits for it first, so that a rank that is lost is noticed.

    Parameters
    ----------
    host : Communicator
        The same ranks, such as :class:`MPI` or :class:`TCP`. It carries the identifier by which NCCL joins them.

    Raises
    ------
    ImportError
        If CuPy or NCCL is missing: ``pip install nvidia-nccl-cu12``.
    """

    def __init__(self, host: Communicator):
        import cupy
        from cupy.cuda import nccl

        if not nccl.available:
            raise ImportError("CuPy finds no NCCL: pip install nvidia-nccl-cu12, or nvidia-nccl-cu13")
        self.rank, self.size, self.local_rank = host.rank, host.size, host.local_rank
        self._cupy, self._nccl, self._host = cupy, nccl, host
        identifier = host.broadcast(nccl.get_unique_id() if host.rank == 0 else None, "the identifier of NCCL")
        device, ranks = cupy.cuda.Device(), []

        def join() -> None:
            with device:
                ranks.append(nccl.NcclCommunicator(host.size, identifier, host.rank))

        if not ends_within(self.timeout, join):  # NCCL itself would wait without limit
            raise RankFailed(f"NCCL did not join the ranks within {self.timeout:g} s: {DEBUG}")
        self._ranks = ranks[0]
        self._done = cupy.cuda.Event(disable_timing=True)
        self._broken: RankFailed | None = None

    @property
    def timeout(self) -> float:  # type: ignore[override]
        """Seconds after which a rank that does not answer counts as lost."""
        return self._host.timeout

    def all_reduce(self, array: Array) -> None:
        if isinstance(array, np.ndarray) or array.dtype.name not in TYPES or not array.flags.c_contiguous:
            super().all_reduce(array)
            return
        self._wait()
        stream = self._cupy.cuda.get_current_stream()
        kind, pointer = getattr(self._nccl, TYPES[array.dtype.name]), array.data.ptr
        self._ranks.allReduce(pointer, pointer, array.size, kind, self._nccl.NCCL_SUM, stream.ptr)
        self._done.record(stream)

    def all_reduce_host(self, array: np.ndarray) -> None:
        self._wait()
        self._host.all_reduce_host(array)

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        self._wait()
        return self._host.all_gather(value, what)

    def fail(self, error: BaseException) -> None:
        self._host.fail(error)

    def __reduce__(self) -> Any:
        """Pickle as the ranks of the process that reads it."""
        return find_communicator, ()

    def _wait(self) -> None:
        """Wait for the last sum; end it if it takes too long."""
        if self._broken is not None:
            raise self._broken
        for _ in range(MAX_POLLS):
            if self._done.done:
                return
        begin = time.monotonic()
        while not self._done.done:
            time.sleep(POLL_SECONDS)
            if time.monotonic() - begin > self.timeout:
                self._ranks.abort()
                self._broken = RankFailed(f"NCCL did not answer for {self.timeout:g} s: {DEBUG}")
                try:
                    self._host.barrier()
                except RankFailed as error:  # it names the ranks that are lost
                    self._broken = error
                raise self._broken


def on_device(communicator: Communicator, backend: Backend) -> Communicator:
    """
    Return ranks that exchange the arrays of a backend: by NCCL, where each rank has a GPU of its own.

    All ranks call it, for backends of the same kind.

    Examples
    --------
    >>> on_device(portanet.distributed.Local(), portanet.get_backend("cpu"))
    <Local: rank 0 of 1>
    """
    if communicator.size == 1 or isinstance(communicator, NCCL) or not backend.name.startswith("cuda"):
        return communicator
    with backend.activate():
        return _over(communicator, backend.name)


@cache
def _over(host: Communicator, device: str) -> Communicator:
    import cupy
    from cupy.cuda import nccl

    identity = socket.gethostname(), cupy.cuda.Device(int(device.partition(":")[2])).pci_bus_id
    of_ranks = host.all_gather((identity, bool(nccl.available)), "the GPUs")
    if len({gpu for gpu, _ in of_ranks}) < host.size:
        reason = "several ranks share a GPU: start as many ranks as there are GPUs"
    elif not all(available for _, available in of_ranks):
        reason = "CuPy finds no NCCL: pip install nvidia-nccl-cu12, or nvidia-nccl-cu13"
    else:
        return NCCL(host)
    if host.rank == 0:
        logger.warning("gradients go through the host, because %s", reason)
    return host
