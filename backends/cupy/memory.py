"""Memory of a CUDA device: an error that reports free memory, and prefetching of data that do not fit."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np

from portanet.backends.base import Batch, OutOfMemory
from portanet.typing import Array

_MEMORY_ALLOCATION_ERROR = 2  # cudaErrorMemoryAllocation


@contextmanager
def activate(index: int) -> Iterator[None]:
    """Make a device the current one. Turn CuPy's out-of-memory error into :class:`OutOfMemory`, and free its arrays."""
    with cupy.cuda.Device(index):  # a new one each time: a Device context is not re-entrant
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            free = _free_bytes()
            # The traceback keeps the local variables of the failed functions, and so their arrays, alive.
            traceback.clear_frames(error.__traceback__)
            cupy.get_default_memory_pool().free_all_blocks()
            raise OutOfMemory(f"cuda:{index}", error._size, free) from error


def allocate(size: int) -> Any:
    """
    Allocate device memory that belongs to no pool.

    Raises
    ------
    OutOfMemoryError
        CuPy's, if cudaMalloc fails. After any other error, a pool of CuPy frees its cached blocks and tries again.
    """
    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status != _MEMORY_ALLOCATION_ERROR:
            raise
        raise cupy.cuda.memory.OutOfMemoryError(size, -1) from error


def fits(index: int, nbytes: int) -> bool:
    """Whether data need at most half of the free memory; the training steps need the rest."""
    with cupy.cuda.Device(index):
        return 2 * nbytes <= _free_bytes()


def _free_bytes() -> int:
    """Free memory of the device and of CuPy's pool."""
    pool = cupy.get_default_memory_pool()
    free: int = cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    limit = pool.get_limit()
    return min(free, limit - pool.used_bytes()) if limit else free


def prefetch(batches: Iterable[Batch]) -> Iterator[tuple[Array, ...]]:
    """Copy each batch on a stream of its own while the one before it is processed; see :meth:`Backend.iter_batches`."""
    copy_stream, ready = cupy.cuda.Stream(non_blocking=True), None
    buffers = _Buffer(), _Buffer()
    try:
        for i, batch in enumerate(batches):
            buffer = buffers[i % 2]
            buffer.fill(batch, copy_stream)
            if ready:
                yield from ready.borrow()
            ready = buffer
        if ready:
            yield from ready.borrow()
    finally:
        copy_stream.synchronize()  # after an early exit, a pending copy may still write to the buffers freed here


class _Buffer:
    """Memory for one batch on the device, and in pinned host memory, from which the GPU copies without the CPU."""

    def __init__(self) -> None:
        self.host: list[np.ndarray] = []
        self.device: list[Array] = []
        self.copied, self.used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))

    def fill(self, batch: Batch, copy_stream: Any) -> None:
        """Start to copy a batch, once the batch before it in this buffer is used."""
        self.copied.synchronize()  # the copy before reads the host memory that is overwritten below
        self.n = len(batch[0])
        if not self.host or len(self.host[0]) < self.n:
            self.host = [_pinned(a) for a in batch]
            self.device = [cupy.empty(a.shape, a.dtype) for a in batch]
            self.used.record()  # the memory may come from arrays that are still in use
        copy_stream.wait_event(self.used)
        for host, device, values in zip(self.host, self.device, batch, strict=True):
            host[: self.n] = values
            device[: self.n].set(host[: self.n], stream=copy_stream)
        self.copied.record(copy_stream)

    def borrow(self) -> Iterator[tuple[Array, ...]]:
        """Yield the batch once it is copied; it is valid until the iterator is advanced."""
        cupy.cuda.get_current_stream().wait_event(self.copied)
        yield tuple(device[: self.n] for device in self.device)
        self.used.record()


def _pinned(like: np.ndarray) -> np.ndarray:
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(like.nbytes), like.dtype, like.size).reshape(like.shape)
