"""
CuPy on CUDA GPUs: devices "cuda" (the first, or one for each process that a launcher starts), "cuda:1" ...

``import cupy`` succeeds without a driver, and a device is found without the libraries of the CUDA toolkit, which fail
only on first use. Therefore a device is usable only after a test computation. Array creation ignores the argument
``device`` and uses the current device (data-apis/array-api-compat#293). CuPy copies pageable host memory before an
asynchronous transfer, but not pinned memory, which must not be overwritten during the transfer.
"""

import os
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from portanet.backends.base import Backend, BackendUnavailable

LOCAL_RANKS = "LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"
"""Variables in which launchers of several processes tell the number of this one on its machine."""

_INSTALL = "pip install 'portanet[cuda12]' for a CUDA 12 driver, or 'portanet[cuda13]' for CUDA 13"

MAX_BLOCK_ELEMENTS = 2**25
"""See :class:`Backend`: 128 MiB in float32. Blocks that fit a CPU's cache would leave a GPU waiting for launches."""


def load(ordinal: str | None = None) -> Backend:
    """Load the backend of a CUDA device, by its ordinal; by default, each process of a machine takes another one."""
    cupy, standard = _import()
    index = _device_index(cupy, ordinal)
    device = cupy.cuda.Device(index)
    version = _test_computation(cupy, index)
    # Imported here, because they import cupy, which may be absent.
    from portanet.backends.cupy import (
        batches,
        blas,
        conv,
        conv_block,
        dense,
        elementwise,
        graph,
        kernels,
        memory,
        pooling,
        random,
    )

    def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
        # For nine arrays or more, CuPy copies their addresses from the host, which cannot be recorded in a graph.
        arrays = list(arrays)
        while len(arrays) > 8:
            arrays = [standard.concat(arrays[i : i + 8], axis=axis) for i in range(0, len(arrays), 8)]
        return standard.concat(arrays, axis=axis)

    def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
        # Of real arrays. CuPy 14.2 has none, and array-api-compat makes it a batch of products of a row and a column.
        return standard.sum(x1 * x2, axis=axis)

    xp = ModuleType("portanet.backends.cupy.xp")
    vars(xp).update(vars(standard), matmul=blas.matmul, concat=concat, vecdot=vecdot)
    properties = cupy.cuda.runtime.getDeviceProperties(index)

    def to_numpy(array: Any) -> np.ndarray:
        with cupy.cuda.Device(index):  # the copy is ordered in the stream of the current device
            host: np.ndarray = cupy.asnumpy(array)
            return host

    return Backend(
        name=f"cuda:{index}",
        xp=xp,
        array_type=cupy.ndarray,
        device=device,
        to_numpy=to_numpy,
        description=(
            f"CuPy {cupy.__version__} on {properties['name'].decode()}, "
            f"{properties['totalGlobalMem'] / 2**30:.0f} GiB, CUDA {version // 1000}.{version % 1000 // 10}"
        ),
        synchronize=device.synchronize,
        activate=partial(memory.activate, index),
        capture=graph.Recording,
        max_block_elements=MAX_BLOCK_ELEMENTS,
        fits=partial(memory.fits, index),
        prefetch=memory.prefetch,
        kernels={
            function.__name__: function
            for function in (
                batches.write_metrics,
                batches.gather_batch,
                blas.matmul_into,
                conv.conv,
                conv.conv_input_gradient,
                conv.conv_vjp,
                conv.conv_weight_gradient,
                conv_block.conv_block,
                dense.dense,
                dense.dense_gradient,
                elementwise.elementwise,
                elementwise.erfcx,
                elementwise.sigmoid,
                elementwise.mean_elementwise,
                kernels.accuracy,
                kernels.adam,
                kernels.bias_grad,
                kernels.mean_cross_entropy,
                kernels.sparse_softmax_cross_entropy,
                kernels.log_softmax,
                kernels.rmsprop,
                kernels.sgd,
                random.advance_stream,
                random.dropout,
                random.random_bits,
                pooling.max_pool,
                pooling.max_pool_gradient,
                pooling.sum_pool,
                pooling.sum_pool_gradient,
            )
        },
    )


def _import() -> tuple[Any, Any]:
    try:
        import cupy
        from array_api_compat import cupy as standard
    except ImportError as error:
        reason = error.__cause__ or error  # CuPy wraps the cause in a page of general advice
        raise BackendUnavailable(f"import cupy failed ({reason}): {_INSTALL}") from error
    return cupy, standard


def _device_index(cupy: Any, ordinal: str | None) -> int:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except (RuntimeError, ImportError) as error:
        raise BackendUnavailable(
            f"cupy {cupy.__version__} is installed but CUDA does not answer ({error}): "
            f"check the NVIDIA driver with nvidia-smi, and the variable CUDA_VISIBLE_DEVICES"
        ) from error
    if ordinal is None:
        local_rank = next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), "0")
        ordinal = str(int(local_rank) % max(1, count)) if local_rank.isdecimal() else "0"
    if not ordinal.isdecimal() or int(ordinal) >= count:
        raise BackendUnavailable(
            f"device 'cuda:{ordinal}' does not exist: CUDA sees {count}, numbered from 0; "
            f"check nvidia-smi and the variable CUDA_VISIBLE_DEVICES"
        )
    return int(ordinal)


def _test_computation(cupy: Any, index: int) -> int:
    """
    Compile a kernel and multiply matrices: a missing library of the CUDA toolkit fails here.

    Return the version of the CUDA runtime that is installed; ``runtimeGetVersion`` gives the one that CuPy was built
    with.
    """
    try:
        with cupy.cuda.Device(index):
            a = cupy.ones((2, 2), dtype="float32")
            cupy.matmul(a, a)
            cupy.cuda.Device(index).synchronize()
            version: int = cupy.cuda.get_local_runtime_version()
            return version
    except Exception as error:  # ImportError, RuntimeError or CuPy's CompileException, depending on the library
        raise BackendUnavailable(
            f"cupy {cupy.__version__} finds device 'cuda:{index}' but cannot compute on it "
            f"({type(error).__name__}: {' '.join(str(error).split())}): {_INSTALL}"
        ) from error
