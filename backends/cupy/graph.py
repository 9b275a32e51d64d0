"""A training step as a CUDA graph: recorded once, and launched as a whole."""

import gc
import sys
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
    pool, stream = _Pool(), cupy.cuda.Stream(non_blocking=True)
    gc.collect()  # now: what frees memory of the device would break the recording
    cupy.get_default_memory_pool().free_all_blocks()  # the new pool cannot take what this one keeps unused
    with cupy.cuda.using_allocator(pool.blocks.malloc), stream:
        cublas = handle()
        try:
            graph = _record(step, stream)
        finally:
            forget_handle()
    graph.upload()  # what makes it fit to be launched may fail, and should while there still is another way

    def replay(_alive: Any = (stream, pool, cublas, step)) -> None:
        graph.launch()  # on the stream that is current then, in order with what runs between steps

    return replay


class _Pool:
    """Memory for one graph, which the device has back with the graph's end."""

    def __init__(self) -> None:
        self.blocks, self.device = cupy.cuda.MemoryPool(), cupy.cuda.Device()

    def __del__(self) -> None:
        # By hand: unused blocks and the list of them hold each other, so that CuPy's pool ends without them.
        if not sys.is_finalizing():
            with self.device:
                self.blocks.free_all_blocks()


def _record(step: Callable[[], Any], stream: Any) -> Any:
    stream.begin_capture()
    try:
        step()
    except BaseException:
        with suppress(Exception):  # the recording is void, and says so itself
            stream.end_capture()
        raise
    return stream.end_capture()
