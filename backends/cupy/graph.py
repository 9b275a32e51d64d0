"""A training step as a CUDA graph: recorded once, and launched as a whole."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cupy

from portanet.backends.cupy.blas import Handle, forget_handle, keep_handle


class Recording:
    """
    What launches all that a step has asked of the current device.

    What the step allocates comes from a pool that lives as long as the graph: nothing else is ever given these
    addresses. The arrays that were there before are for the caller to keep, and to be the same. The step should have
    run before, so that its kernels are compiled.

    Parameters
    ----------
    step : callable
        Of no arguments.
    beside : Recording, optional
        Another, of steps that leave nothing for these: its memory serves both, since they never run at once.
    """

    def __init__(self, step: Callable[[], Any], beside: "Recording | None" = None):
        self.step = step
        gc.collect()  # now: what frees memory of the device would break the recording
        cupy.get_default_memory_pool().free_all_blocks()  # the new pool cannot take what this one keeps unused
        self.pool: _Pool = beside.pool if beside else _Pool()
        self.stream: Any = beside.stream if beside else cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self.pool.blocks.malloc), self.stream:
            self.cublas: Handle = beside.cublas if beside else Handle()
            keep_handle(self.cublas)
            try:
                self.graph = _record(step, self.stream)
            finally:
                forget_handle()
        self.graph.upload()  # what makes it fit to be launched may fail, and should while there still is another way

    def __call__(self) -> None:
        self.graph.launch()  # on the stream that is current then, in order with what runs between steps


class _Pool:
    """Memory for graphs, which the device has back with their end."""

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
