"""
CUDA sources, compiled once for each combination of dtypes and constants that a kernel is used with.

Each thread computes one index. Dtypes and the sizes of a window are macros: the compiler then divides by constants,
which costs a tenth of a division, and unrolls loops. Macros are defined in the source and not by compiler options: CuPy
includes a header before the source that uses the name T itself. CuPy caches compiled kernels in memory and on disk. It
compiles with ``-ftz=true``: numbers of float32 below 1.2e-38 in magnitude, the subnormal ones, are 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import cupy
import numpy as np

THREADS_PER_BLOCK = 256

MAX_INT32_INDEX = 2**31 - THREADS_PER_BLOCK
"""Maximum number of threads or array elements that are counted in 32 bits."""

TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
"""C++ types of dtypes."""

PREAMBLE = """
#define KERNEL extern "C" __global__ void
#define THREAD_INDEX(i) const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return
"""


BLOCK_SUM = """
// Sum over a block of 256 threads; thread 0 returns it.
__device__ T block_sum(T value) {
  __shared__ T sums[8];
  for (int d = 16; d; d /= 2) value += __shfl_xor_sync(0xffffffffu, value, d);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  for (int warp = 1; warp < 8; ++warp) value += threadIdx.x ? 0 : sums[warp];
  return value;
}
"""


Macros: TypeAlias = tuple[tuple[str, int | str], ...]
"""Names and values."""


class Launch(NamedTuple):
    """A launch of a kernel, as :func:`record_launches` keeps it."""

    source: "Source"
    name: str
    macros: Macros
    n: Any
    """Number of threads, as a scalar of NumPy."""
    arguments: tuple[Any, ...]
    """Those after n: scalars of NumPy, and for each array its :class:`ByteBounds`."""


class ByteBounds(NamedTuple):
    """First byte of an array, and the one past its last. The array is not kept: a pool may use its memory again."""

    start: int
    stop: int


_launches: ContextVar[list[Launch] | None] = ContextVar("launches", default=None)


@contextmanager
def record_launches() -> Iterator[list[Launch]]:
    """List the launches of this module; those of CuPy and of cuBLAS are not in the list."""
    launches: list[Launch] = []
    token = _launches.set(launches)
    try:
        yield launches
    finally:
        _launches.reset(token)


class Source:
    """
    CUDA C++ source of one or more kernels.

    Each kernel begins with ``KERNEL name(INDEX n, ...) { THREAD_INDEX(i); ...``, where i is the index of one of n
    threads. T is the floating type, INDEX the integer type of indices.

    Parameters
    ----------
    code : str
    """

    def __init__(self, code: str):
        self.code = code

    def text(self, macros: dict[str, int | str]) -> str:
        """Return the complete source with macros."""
        return "".join(f"#define {name} {value}\n" for name, value in macros.items()) + PREAMBLE + self.code

    def launch(self, name: str, n: int, dtype: Any, *arguments: Any, **constants: int | str) -> None:
        """
        Launch a kernel with n threads on the current device.

        Parameters
        ----------
        name : str
            Name of the kernel.
        n : int
            Number of threads.
        dtype : dtype
            T.
        *arguments : array, float or int
            Contiguous arrays; a float is passed as T, an integer as INDEX.
        **constants : int or str
            Further macros.

        Raises
        ------
        TypeError
            If a floating array has another dtype.
        ValueError
            If an array is on another device than the current one.
        """
        if not n:
            return
        arrays = [a for a in arguments if isinstance(a, cupy.ndarray)]
        check_device(*arrays)
        if any(a.dtype.kind == "f" and a.dtype != dtype for a in arrays):
            dtypes = ", ".join(str(a.dtype) for a in arrays)
            raise TypeError(f"{name} needs floats of one dtype, got {dtypes}: net.asarray(...) gives the network's")
        largest = max(n, *(a.size if isinstance(a, cupy.ndarray) else a for a in arguments))
        index = np.int32 if largest <= MAX_INT32_INDEX else np.int64
        macros = tuple({"T": TYPES[dtype.name], "INDEX": TYPES[index.__name__], **constants}.items())
        convert = {int: index, float: dtype.type}
        values = [convert.get(type(a), _identity)(a) for a in arguments]
        _kernel(self, name, macros)((-(-n // THREADS_PER_BLOCK),), (THREADS_PER_BLOCK,), (index(n), *values))
        if (launches := _launches.get()) is not None:
            launches.append(Launch(self, name, macros, index(n), tuple(map(_memory, values))))


def check_device(*arrays: Any) -> None:
    """Raise ValueError if an array is on another device than the current one, where a kernel cannot read it."""
    current = cupy.cuda.runtime.getDevice()
    for array in arrays:
        if array.data.device_id != current:
            raise ValueError(
                f"array is on cuda:{array.data.device_id} while cuda:{current} is the current device: compute inside "
                f"portanet.get_backend('cuda:{array.data.device_id}').activate(), and move what is elsewhere"
            )


def check_shape(name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError if an array has another shape, because a kernel would read or write outside of it."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}: check the shapes that the layer computes")


def contiguous(array: Any) -> Any:
    """Return the array, or a copy in C order if it is not."""
    return array if array.flags.c_contiguous else cupy.ascontiguousarray(array)


@cache
def _kernel(source: Source, name: str, macros: Macros) -> Any:
    return cupy.RawKernel(source.text(dict(macros)), name)


def _identity(argument: Any) -> Any:
    return argument


def _memory(value: Any) -> Any:
    return ByteBounds(value.data.ptr, value.data.ptr + value.nbytes) if isinstance(value, cupy.ndarray) else value
