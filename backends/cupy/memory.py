"""Memory of a CUDA device: an error that says how much there is, and a way in for data that are too large for it."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np

from portanet.backends.base import Batch, OutOfMemory
from portanet.typing import Array


@contextmanager
def active(index: int) -> Iterator[None]:
    """Make a device the current one; where its memory does not suffice, say so after freeing what the failure held."""
    with cupy.cuda.Device(index):  # a fresh one each time: a Device context is not re-entrant
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            free = _free()
            # Variables of the functions that have failed hold arrays for as long as the error lives.
            traceback.clear_frames(error.__traceback__)
            cupy.get_default_memory_pool().free_all_blocks()
            raise OutOfMemory(f"cuda:{index}", error._size, free) from error


def fits(index: int, nbytes: int) -> bool:
    """Whether data would take no more than half of what is free: the steps want the rest."""
    with cupy.cuda.Device(index):
        return 2 * nbytes <= _free()


def _free() -> int:
    """Bytes that can be had, of the device and of what CuPy keeps unused."""
    pool = cupy.get_default_memory_pool()
    free: int = cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    limit = pool.get_limit()
    return min(free, limit - pool.used_bytes()) if limit else free


def prefetch(batches: Iterable[Batch]) -> Iterator[tuple[Array, ...]]:
    """Copy a batch on a stream of its own while the one before is at work; see :meth:`Backend.iter_batches`."""
    copying, ready = cupy.cuda.Stream(non_blocking=True), None
    slots = _Slot(), _Slot()
    try:
        for i, batch in enumerate(batches):
            slot = slots[i % 2]
            slot.fill(batch, copying)
            if ready:
                yield from ready.lend()
            ready = slot
        if ready:
            yield from ready.lend()
    finally:
        copying.synchronize()  # where the rest is not wanted, a copy may still write to memory that is given back here


class _Slot:
    """Room for one batch: in pinned memory, from which a copy needs no help of the host, and on the device."""

    def __init__(self) -> None:
        self.here: list[np.ndarray] = []
        self.there: list[Array] = []
        self.copied, self.used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))

    def fill(self, batch: Batch, copying: Any) -> None:
        """Begin to copy a batch, as soon as the one that was here is used."""
        self.copied.synchronize()  # until then, the copy before reads what is written now
        self.n = len(batch[0])
        if not self.here or len(self.here[0]) < self.n:
            self.here = [_pinned(a) for a in batch]
            self.there = [cupy.empty(a.shape, a.dtype) for a in batch]
            self.used.record()  # the memory may come from arrays that are still in use
        copying.wait_event(self.used)
        for host, device, values in zip(self.here, self.there, batch, strict=True):
            host[: self.n] = values
            device[: self.n].set(host[: self.n], stream=copying)
        self.copied.record(copying)

    def lend(self) -> Iterator[tuple[Array, ...]]:
        """Give the batch once it has come, until the next is asked for."""
        cupy.cuda.get_current_stream().wait_event(self.copied)
        yield tuple(device[: self.n] for device in self.there)
        self.used.record()


def _pinned(like: np.ndarray) -> np.ndarray:
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(like.nbytes), like.dtype, like.size).reshape(like.shape)
