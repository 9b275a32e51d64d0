"""Matrix products by the compiled kernels."""

import numpy as np

from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ``numpy.matmul``, whose threads of BLAS would take the cores from those of the core."""
    if a.ndim == b.ndim and a.ndim in {2, 3}:
        y = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
        try:
            (compiled.matmul if a.ndim == 2 else compiled.stacked_matmul)(a, b, y)
            return y
        except ValueError:  # other dtypes or shapes; the look at them would cost as much as a small product
            pass
    elif a.ndim == b.ndim > 3 and a.shape[:-2] == b.shape[:-2]:
        return matmul(*(x.reshape(-1, *x.shape[-2:]) for x in (a, b))).reshape(*a.shape[:-1], b.shape[-1])
    product: np.ndarray = np.matmul(a, b)
    return product


def linear(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.linear`; a batch that is last in memory stays so."""
    if x.ndim > 2 and x.flags.c_contiguous:
        return linear(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])
    if x.ndim == 2:
        try:
            y = empty_matrix(len(x), w.shape[1], x)
            compiled.matmul(x, w, y)
            return y
        except ValueError:  # other dtypes; the look at them would cost as much as a small product
            pass
    portable: np.ndarray = plain.linear(x, w)
    return portable


def matmul_into(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """See :func:`portanet.kernels.matmul_into`."""
    try:
        compiled.matmul(a, b, out)
    except ValueError:  # other dtypes, or gaps in memory
        plain.matmul_into(out, a, b)


def empty_matrix(n_rows: int, n_columns: int, like: np.ndarray) -> np.ndarray:
    """Return a matrix in the memory order of another."""
    return np.empty((n_rows, n_columns), like.dtype, "C" if like.strides[0] >= like.strides[1] else "F")
