"""
Matrix products through cuBLAS itself.

CuPy's own products refuse to be recorded in a graph, and neither add to what is there nor round factors by choice.
"""

import ctypes
import math
import sys
import threading
from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from portanet.backends.cupy.source import check_device, contiguous
from portanet.backends.precision import float32_matmul
from portanet.typing import Array

WORKSPACE = 32 * 2**20
"""Bytes that cuBLAS may work in: what its documentation recommends for Hopper."""

_DTYPES = {"float32": 0, "float64": 1}  # cudaDataType_t
_COMPUTE_32F = {"float32": 68, "bfloat16": 75, "tf32": 77}  # cublasComputeType_t; the last two may round factors
_COMPUTE_64F = 70
_DEFAULT_ALGORITHM = -1
_FACTORS = {name: (kind(0.0), kind(1.0)) for name, kind in (("float32", ctypes.c_float), ("float64", ctypes.c_double))}


def matmul(a: Array, b: Array) -> Array:
    """``xp.matmul``; what is neither float32 nor float64 is left to CuPy."""
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
    Overwrite or increase matrices by the products of others.

    Parameters
    ----------
    out : array of float32 or float64, shape (..., M, N)
        In C order.
    a, b : array, shapes (..., M, K) and (..., K, N)
        Of the same dtype. Transposed matrices, and rows out of longer ones, are read where they are.
    add : bool
        Add to what is in ``out``.
    """
    check_device(out, a, b)
    if not out.size:
        return
    if not a.size:
        if not add:
            out[...] = 0
        return
    name, (m, n), k = out.dtype.name, out.shape[-2:], a.shape[-1]
    zero, one = _FACTORS[name]
    left, right, target = _operand(a), _operand(b), _operand(out)
    if max(m, n, k, left.row, right.row) >= 2**31:
        raise ValueError(f"cuBLAS counts rows and columns in 32 bits, got matrices {a.shape} and {b.shape}: take parts")
    compute = _COMPUTE_32F[float32_matmul()] if name == "float32" else _COMPUTE_64F

    # cuBLAS counts along columns: what it takes for the matrices are their transposes, and (AB)ᵀ = BᵀAᵀ.
    def place(x: _Operand) -> tuple[int, ...]:
        return x.array.data.ptr, _DTYPES[name], x.row, *((x.matrix,) if out.ndim > 2 else ())

    product = "cublasGemmStridedBatchedEx" if out.ndim > 2 else "cublasGemmEx"
    status = getattr(_library(), product)(
        *(handle().address, right.transposed, left.transposed, n, m, k, ctypes.byref(one)),
        *(*place(right), *place(left), ctypes.byref(one if add else zero), *place(target)),
        *(*((math.prod(out.shape[:-2]),) if out.ndim > 2 else ()), compute, _DEFAULT_ALGORITHM),
    )
    _check(status, product)


class _Operand(NamedTuple):
    """A matrix, or a batch of them, and the numbers from one row (if transposed: column), or matrix, to the next."""

    array: Array
    transposed: bool
    row: int
    matrix: int


def _operand(x: Array) -> _Operand:
    if x.ndim > 2:
        rows, columns = x.shape[-2:]
        return _Operand(contiguous(x), False, columns, rows * columns)
    size, (rows, columns), (down, right) = x.dtype.itemsize, x.shape, x.strides
    # Along an axis of length 1 no step is ever taken, whatever its stride says.
    down, right = (columns * size if rows == 1 else down), (size if columns == 1 else right)
    if right == size and down >= columns * size and down % size == 0:
        return _Operand(x, False, down // size, 0)
    if rows == 1:
        down = size
    if down == size and right >= rows * size and right % size == 0:
        return _Operand(x, True, right // size, 0)
    return _Operand(contiguous(x), False, columns, 0)


class Handle:
    """What cuBLAS keeps for one stream: its own handle, and a workspace that no other stream writes to."""

    def __init__(self) -> None:
        self.address, self.device = ctypes.c_void_p(), cupy.cuda.Device()
        cupy.get_default_memory_pool().free_all_blocks()  # what it keeps unused may be all that there is
        self.workspace = cupy.cuda.Memory(WORKSPACE)  # of no pool: what a pool gives may end with it
        cublas, stream = _library(), cupy.cuda.get_current_stream().ptr
        _check(cublas.cublasCreate_v2(ctypes.byref(self.address)), "cublasCreate")
        _check(cublas.cublasSetStream_v2(self.address, stream), "cublasSetStream")
        # After the stream, since to set that takes the workspace away.
        _check(cublas.cublasSetWorkspace_v2(self.address, self.workspace.ptr, WORKSPACE), "cublasSetWorkspace")

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            with self.device:
                _library().cublasDestroy_v2(self.address)


class _Handles(threading.local):
    """Handles of this thread by device and stream."""

    def __init__(self) -> None:
        self.by_stream: dict[tuple[int, int], Handle] = {}


_handles = _Handles()


def handle() -> Handle:
    """Return the handle for the current stream of the current device."""
    key = _current()
    if key not in _handles.by_stream:
        _handles.by_stream[key] = Handle()
    return _handles.by_stream[key]


def keep_handle(handle: Handle) -> None:
    """Take a handle that was made for the current stream, until :func:`forget_handle`."""
    _handles.by_stream[_current()] = handle


def forget_handle() -> None:
    """Leave the handle for the current stream to those who hold it."""
    _handles.by_stream.pop(_current(), None)


def _current() -> tuple[int, int]:
    return cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr


def _check(status: int, function: str) -> None:
    if status:
        raise RuntimeError(f"{function} failed with status {status} of cublasStatus_t")


@cache
def _library() -> Any:
    """The cuBLAS that CuPy itself would load."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    cublas = ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    problem, matrix, choice = (pointer, *(number,) * 5, pointer), (pointer, number, number), (number, number)
    matrices = (*matrix, ctypes.c_longlong)
    for name, arguments in {
        "cublasCreate_v2": (pointer,),
        "cublasDestroy_v2": (pointer,),
        "cublasSetStream_v2": (pointer, pointer),
        "cublasSetWorkspace_v2": (pointer, pointer, ctypes.c_size_t),
        "cublasGemmEx": (*problem, *matrix, *matrix, pointer, *matrix, *choice),
        "cublasGemmStridedBatchedEx": (*problem, *matrices, *matrices, pointer, *matrices, number, *choice),
    }.items():
        getattr(cublas, name).argtypes = arguments
    return cublas
