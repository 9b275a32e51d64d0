"""
CUDA sources: compiled for the types and numbers that a kernel is used with, once each, and launched.

Kernels take one index a thread. Types and the numbers of a window are macros: the compiler then divides by constants,
which costs a tenth of a division, and unrolls loops. They are defined in the source, not by options: the compiler's own
header comes after the options, and has a T of its own. CuPy keeps what was compiled in memory and on disk.
"""

from functools import cache
from typing import Any

import cupy
import numpy as np

BLOCK = 256
"""Threads a block."""

LAST = 2**31 - BLOCK
"""Number of threads or array elements up to which 32 bits count them."""

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

PREAMBLE = """
#define KERNEL extern "C" __global__ void
#define EACH(i) const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return
"""


class Source:
    """
    Kernels that share constants, in CUDA C++.

    Each begins with ``KERNEL name(INDEX n, ...) { EACH(i); ...``: i counts its n threads. T is the type of the floats.

    Parameters
    ----------
    code : str
        The kernels.
    """

    def __init__(self, code: str):
        self.code = code

    def text(self, macros: dict[str, int | str]) -> str:
        """Give what the compiler reads."""
        return "".join(f"#define {name} {value}\n" for name, value in macros.items()) + PREAMBLE + self.code

    def launch(self, name: str, n: int, dtype: Any, *arguments: Any, **constants: int | str) -> None:
        """
        Run a kernel in n threads, on the current device.

        Parameters
        ----------
        name : str
            Of the kernel.
        n : int
            Threads.
        dtype : dtype
            What T is.
        *arguments : array, float or int
            Contiguous arrays; floats become T, and integers INDEX.
        **constants : int or str
            Macros of this call.
        """
        if not n:
            return
        arrays = [a for a in arguments if isinstance(a, cupy.ndarray)]
        check_device(*arrays)
        if any(a.dtype.kind == "f" and a.dtype != dtype for a in arrays):
            kinds = ", ".join(str(a.dtype) for a in arrays)
            raise TypeError(f"{name} needs floats of one dtype, got {kinds}: net.asarray(...) gives the network's")
        largest = max(n, *(a.size if isinstance(a, cupy.ndarray) else a for a in arguments))
        index = np.int32 if largest <= LAST else np.int64
        macros = {"T": TYPES[dtype.name], "INDEX": TYPES[index.__name__], **constants}
        kernel = _kernel(self, name, tuple(macros.items()))
        scalars = {int: index, float: dtype.type}
        kernel((-(-n // BLOCK),), (BLOCK,), (index(n), *(scalars.get(type(a), _same)(a) for a in arguments)))


def check_device(*arrays: Any) -> None:
    """Refuse arrays of another device than the current one: the kernel would read what is not there."""
    current = cupy.cuda.runtime.getDevice()
    for array in arrays:
        if array.data.device_id != current:
            raise ValueError(
                f"array is on cuda:{array.data.device_id} while cuda:{current} is the current device: compute inside "
                f"portanet.get_backend('cuda:{array.data.device_id}').activate(), and move what is elsewhere"
            )


def contiguous(array: Any) -> Any:
    """Return the array, or a copy in C order."""
    return array if array.flags.c_contiguous else cupy.ascontiguousarray(array)


@cache
def _kernel(source: Source, name: str, macros: tuple[tuple[str, int | str], ...]) -> Any:
    return cupy.RawKernel(source.text(dict(macros)), name)


def _same(argument: Any) -> Any:
    return argument
