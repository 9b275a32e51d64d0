"""A training step as a CUDA graph: recorded once, and launched as a whole."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cupy

from portanet.backends.cupy import persistent
from portanet.backends.cupy.blas import Handle, forget_handle, use_handle
from portanet.backends.cupy.memory import allocate
from portanet.backends.cupy.source import record_launches
from portanet.backends.disabled import enabled


class Recording:
    """
    Steps on the current device as a CUDA graph, or as a persistent kernel where that is faster; a call launches it.

    Arrays that the step allocates come from a memory pool that lives as long as the graph, so that their addresses are
    never reused. The caller must keep the other arrays that the step uses. The step must have run before, so that its
    kernels are compiled. If memory runs out, CuPy's OutOfMemoryError is raised; recordings of the same pool stay valid.

    Parameters
    ----------
    step : callable
        Function of no arguments.
    n_steps : int
        How often it runs at each launch.
    n_expected : int
        Steps that will probably run. For few of them, no persistent kernel is compiled.
    share_pool_with : Recording, optional
        Another recording whose memory pool is used. The two must not run at the same time, nor may this one need
        arrays that the other allocated.
    """

    def __init__(
        self,
        step: Callable[[], Any],
        n_steps: int = 1,
        n_expected: int = 1,
        share_pool_with: "Recording | None" = None,
    ):
        self.step = step
        gc.collect()  # now, because it is disabled during the capture
        cupy.get_default_memory_pool().free_all_blocks()  # the new pool cannot use the free blocks of this one
        other = share_pool_with
        self.pool: _Pool = other.pool if other else _Pool()
        self.stream: Any = other.stream if other else cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self.pool.blocks.malloc), self.stream:
            self.cublas: Handle = other.cublas if other else Handle()
            use_handle(self.cublas)
            try:
                with _garbage_collection_disabled(), record_launches() as launches:
                    self.graph: Any = _capture(step, n_steps, self.stream)
            finally:
                forget_handle()
        self.graph.upload()  # may fail: do it now, while the caller can still run the step without a graph
        if enabled("persistent") and n_expected >= persistent.MIN_STEPS:
            self.graph = persistent.autotune(self.graph, launches, n_steps)

    def __call__(self) -> None:
        self.graph.launch()  # on the current stream, in order with the work between steps


class _Pool:
    """
    Memory pool of graphs, which returns its memory to the device when it is deleted.

    Until then it frees no block, also if memory runs out: graphs hold the addresses of its cached blocks.
    """

    def __init__(self) -> None:
        self.blocks, self.device = cupy.cuda.MemoryPool(allocate), cupy.cuda.Device()
        self.blocks.set_limit(size=0)  # that of CUPY_GPU_MEMORY_LIMIT would hold for each pool by itself

    def __del__(self) -> None:
        # Explicitly: CuPy deletes a pool without its free blocks, because they and their list refer to each other.
        if not sys.is_finalizing():
            with self.device:
                self.blocks.free_all_blocks()


@contextmanager
def _garbage_collection_disabled() -> Iterator[None]:
    """A collection during the capture might free device memory, which would invalidate the capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _capture(step: Callable[[], Any], n_steps: int, stream: Any) -> Any:
    """Return the CUDA graph of some steps."""
    stream.begin_capture()
    try:
        for _ in range(n_steps):
            step()
    except BaseException:
        with suppress(Exception):  # the invalid capture raises, too
            stream.end_capture()
        raise
    return stream.end_capture()
