"""
Matrix products by direct calls of cuBLAS.

CuPy's own products cannot be recorded in a CUDA graph, cannot add to an existing array, and have no option for the
precision.
"""

import ctypes
import math
import sys
import threading
from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from portanet.backends.cupy.memory import allocate
from portanet.backends.cupy.source import check_device, check_shape, contiguous
from portanet.backends.precision import get_float32_matmul_precision
from portanet.typing import Array

WORKSPACE_BYTES = 32 * 2**20
"""Size of the workspace of cuBLAS: the recommendation of its documentation for Hopper GPUs."""

_DTYPES = {"float32": 0, "float64": 1}  # cudaDataType_t
_COMPUTE_32F = {"float32": 68, "bfloat16": 75, "tf32": 77}  # cublasComputeType_t; the last two may round the factors
_COMPUTE_64F = 70
_DEFAULT_ALGORITHM = -1
_ALLOC_FAILED = 3  # cublasStatus_t
_ZERO_AND_ONE = {
    name: (kind(0.0), kind(1.0)) for name, kind in (("float32", ctypes.c_float), ("float64", ctypes.c_double))
}


def matmul(a: Array, b: Array) -> Array:
    """``xp.matmul`` of the Array API. CuPy computes it for dtypes other than float32 and float64."""
    if a.dtype != b.dtype or a.dtype.name not in _DTYPES or not (a.ndim and b.ndim):
        return cupy.matmul(a, b)
    if b.ndim == 1:
        return matmul(a, b[:, None])[..., 0]
    if a.ndim == 1:
        return matmul(a[None, :], b)[..., 0, :]
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul needs as many columns as rows, got {a.shape} and {b.shape}")
    if a.ndim > 2 and b.ndim == 2:
        rows = contiguous(a).reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return matmul(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = cupy.empty((*batch, a.shape[-2], b.shape[-1]), dtype=a.dtype)
    multiply(out, *(x if x.shape[:-2] == batch else cupy.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b)))
    return out


def matmul_into(out: Array, a: Array, b: Array) -> None:
    """See :func:`portanet.kernels.matmul_into`."""
    if out.flags.c_contiguous and out.dtype == a.dtype == b.dtype:
        multiply(out, a, b)
    else:
        out[...] = matmul(a, b)


def multiply(out: Array, a: Array, b: Array, *, add: bool = False) -> None:
    """
    Matrix product into an existing array: ``out = a b``, or ``out += a b``, for one matrix or a batch.

    Parameters
    ----------
    out : array of float32 or float64, shape (..., M, N)
        In C order.
    a, b : array, shapes (..., M, K) and (..., K, N)
        Of the same dtype. A transposed matrix, or a slice of a matrix, is not copied.
    add : bool
        Add to ``out`` instead of overwriting it.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a matrix has 2**31 rows or columns or more.
    TypeError
        If the dtypes differ.
    """
    check_device(out, a, b)
    batch, n_inner = out.shape[:-2], a.shape[-1]
    check_shape("a", a, (*batch, out.shape[-2], n_inner))
    check_shape("b", b, (*batch, n_inner, out.shape[-1]))
    if not out.dtype == a.dtype == b.dtype:
        raise TypeError(f"a product needs arrays of one dtype, got {out.dtype}, {a.dtype}, {b.dtype}: use net.asarray")
    if not out.size:
        return
    if not a.size:
        if not add:
            out[...] = 0
        return
    name, (m, n), k = out.dtype.name, out.shape[-2:], a.shape[-1]
    zero, one = _ZERO_AND_ONE[name]
    left, right, target = _operand(a), _operand(b), _operand(out)
    if max(m, n, k, left.leading, right.leading) >= 2**31:
        raise ValueError(f"cuBLAS counts rows and columns in 32 bits, got matrices {a.shape} and {b.shape}: split them")
    compute = _COMPUTE_32F[get_float32_matmul_precision()] if name == "float32" else _COMPUTE_64F

    # cuBLAS uses column-major order and so sees the transposed matrices: it computes (AB)ᵀ = BᵀAᵀ.
    def matrix(x: _Operand) -> tuple[int, ...]:
        return x.array.data.ptr, _DTYPES[name], x.leading, *((x.stride,) if out.ndim > 2 else ())

    function = "cublasGemmStridedBatchedEx" if out.ndim > 2 else "cublasGemmEx"
    status = getattr(_library(), function)(
        *(handle().address, right.transposed, left.transposed, n, m, k, ctypes.byref(one)),
        *(*matrix(right), *matrix(left), ctypes.byref(one if add else zero), *matrix(target)),
        *(*((math.prod(out.shape[:-2]),) if out.ndim > 2 else ()), compute, _DEFAULT_ALGORITHM),
    )
    _check(status, function)


class _Operand(NamedTuple):
    """A matrix or a batch of matrices, as cuBLAS takes it."""

    array: Array
    transposed: bool
    leading: int  # leading dimension: elements from one row to the next, or from one column to the next if transposed
    stride: int  # elements from one matrix to the next


def _operand(x: Array) -> _Operand:
    if x.ndim > 2:
        rows, columns = x.shape[-2:]
        return _Operand(contiguous(x), False, columns, rows * columns)
    itemsize, (rows, columns), (row_step, column_step) = x.dtype.itemsize, x.shape, x.strides
    # The stride of an axis of length 1 is arbitrary.
    if rows == 1:
        row_step = columns * itemsize
    if columns == 1:
        column_step = itemsize
    if column_step == itemsize and row_step >= columns * itemsize and row_step % itemsize == 0:
        return _Operand(x, False, row_step // itemsize, 0)
    if rows == 1:
        row_step = itemsize
    if row_step == itemsize and column_step >= rows * itemsize and column_step % itemsize == 0:
        return _Operand(x, True, column_step // itemsize, 0)
    return _Operand(contiguous(x), False, columns, 0)


class Handle:
    """A cuBLAS handle for one stream, with a workspace of its own."""

    def __init__(self) -> None:
        self.address, self.device = ctypes.c_void_p(), cupy.cuda.Device()
        cupy.get_default_memory_pool().free_all_blocks()  # they may be all the memory that is left
        self.workspace = allocate(WORKSPACE_BYTES)  # from no pool: it may outlive the current one
        cublas, stream = _library(), cupy.cuda.get_current_stream().ptr
        _check(cublas.cublasCreate_v2(ctypes.byref(self.address)), "cublasCreate")
        _check(cublas.cublasSetStream_v2(self.address, stream), "cublasSetStream")
        # After cublasSetStream, which resets the workspace.
        _check(cublas.cublasSetWorkspace_v2(self.address, self.workspace.ptr, WORKSPACE_BYTES), "cublasSetWorkspace")

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            with self.device:
                _library().cublasDestroy_v2(self.address)


class _Handles(threading.local):
    """Handles of the current thread, by device and stream."""

    def __init__(self) -> None:
        self.by_stream: dict[tuple[int, int], Handle] = {}


_handles = _Handles()


def handle() -> Handle:
    """Return the handle for the current stream of the current device."""
    key = _device_and_stream()
    if key not in _handles.by_stream:
        _handles.by_stream[key] = Handle()
    return _handles.by_stream[key]


def use_handle(handle: Handle) -> None:
    """Use a handle, which was made for the current stream, until :func:`forget_handle`."""
    _handles.by_stream[_device_and_stream()] = handle


def forget_handle() -> None:
    """Drop the reference to the handle for the current stream."""
    _handles.by_stream.pop(_device_and_stream(), None)


def _device_and_stream() -> tuple[int, int]:
    return cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr


def _check(status: int, function: str) -> None:
    if status == _ALLOC_FAILED:
        raise cupy.cuda.memory.OutOfMemoryError(0, -1)  # cuBLAS does not say how much it asked for
    if status:
        raise RuntimeError(f"{function} failed with status {status} of cublasStatus_t")


@cache
def _library() -> Any:
    """Load the cuBLAS library that CuPy loads."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    cublas = ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    sizes, matrix, options = (pointer, *(number,) * 5, pointer), (pointer, number, number), (number, number)
    batch = (*matrix, ctypes.c_longlong)
    for name, arguments in {
        "cublasCreate_v2": (pointer,),
        "cublasDestroy_v2": (pointer,),
        "cublasSetStream_v2": (pointer, pointer),
        "cublasSetWorkspace_v2": (pointer, pointer, ctypes.c_size_t),
        "cublasGemmEx": (*sizes, *matrix, *matrix, pointer, *matrix, *options),
        "cublasGemmStridedBatchedEx": (*sizes, *batch, *batch, pointer, *batch, number, *options),
    }.items():
        getattr(cublas, name).argtypes = arguments
    return cublas
