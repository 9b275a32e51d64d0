"""A training step as a CUDA graph: recorded once, and launched as a whole."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cupy

from portanet.backends.cupy.blas import Handle, forget_handle, use_handle


class Recording:
    """
    CUDA graph of a step on the current device; a call launches it.

    Arrays that the step allocates come from a memory pool that lives as long as the graph, so that their addresses are
    never reused. The caller must keep the other arrays that the step uses. The step must have run before, so that its
    kernels are compiled.

    Parameters
    ----------
    step : callable
        Function of no arguments.
    share_pool_with : Recording, optional
        Another recording whose memory pool is used. The two must not run at the same time, nor may this one need
        arrays that the other allocated.
    """

    def __init__(self, step: Callable[[], Any], share_pool_with: "Recording | None" = None):
        self.step = step
        gc.collect()  # now, because to free device memory during the capture would invalidate it
        cupy.get_default_memory_pool().free_all_blocks()  # the new pool cannot use the free blocks of this one
        other = share_pool_with
        self.pool: _Pool = other.pool if other else _Pool()
        self.stream: Any = other.stream if other else cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self.pool.blocks.malloc), self.stream:
            self.cublas: Handle = other.cublas if other else Handle()
            use_handle(self.cublas)
            try:
                self.graph = _record(step, self.stream)
            finally:
                forget_handle()
        self.graph.upload()  # may fail: do it now, while the caller can still run the step without a graph

    def __call__(self) -> None:
        self.graph.launch()  # on the current stream, in order with the work between steps


class _Pool:
    """Memory pool of graphs, which returns its memory to the device when it is deleted."""

    def __init__(self) -> None:
        self.blocks, self.device = cupy.cuda.MemoryPool(), cupy.cuda.Device()

    def __del__(self) -> None:
        # Explicitly: CuPy deletes a pool without its free blocks, because they and their list refer to each other.
        if not sys.is_finalizing():
            with self.device:
                self.blocks.free_all_blocks()


def _record(step: Callable[[], Any], stream: Any) -> Any:
    stream.begin_capture()
    try:
        step()
    except BaseException:
        with suppress(Exception):  # the invalid capture raises, too
            stream.end_capture()
        raise
    return stream.end_capture()
