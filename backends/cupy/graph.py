"""A training step as a CUDA graph: recorded once, and launched as a whole."""

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cupy

from portanet.backends.cupy.blas import forget_handle, handle


def capture(step: Callable[[], Any]) -> Callable[[], None]:
    """
    Record what a step launches on the current device, and return what launches it all.

    What it allocates comes from a pool that lives as long as the graph, as does the step with the arrays that it holds:
    nothing else is ever given these addresses.
    The step should have run before, so that its kernels are compiled.
    """
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    gc.collect()  # now: what frees memory of the device would break the recording
    cupy.get_default_memory_pool().free_all_blocks()  # the new pool cannot take what this one keeps unused
    with cupy.cuda.using_allocator(pool.malloc), stream:
        cublas = handle()
        try:
            graph = _record(step, stream)
        finally:
            forget_handle()

    def replay(_alive: Any = (pool, cublas, step)) -> None:
        graph.launch()  # on the stream that is current then, in order with what runs between steps

    return replay


def _record(step: Callable[[], Any], stream: Any) -> Any:
    stream.begin_capture()
    try:
        step()
    except BaseException:
        with suppress(Exception):  # the recording is void, and says so itself
            stream.end_capture()
        raise
    return stream.end_capture()
