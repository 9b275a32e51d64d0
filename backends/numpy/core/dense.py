"""
Products, and dense layers, by the compiled kernels.

Bias and activation are computed with the product, while the cache holds it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.elementwise import Pullback, programs_of


def linear(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.linear`; a batch that is last in memory stays so."""
    if x.ndim > 2 and x.flags.c_contiguous:
        return linear(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])
    if x.ndim == 2:
        try:
            y = _empty(len(x), w.shape[1], x)
            compiled.matmul(x, w, y)
            return y
        except ValueError:  # other dtypes; the look at them would cost as much as a small product
            pass
    result: np.ndarray = plain.linear(x, w)
    return result


def matmul_into(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """See :func:`portanet.kernels.matmul_into`."""
    try:
        compiled.matmul(a, b, out)
    except ValueError:  # other dtypes, or gaps in memory
        plain.matmul_into(out, a, b)


def dense(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, fn: Callable[..., Any] | None
) -> tuple[np.ndarray, Callable[[Any], Any] | None]:
    """See :func:`portanet.kernels.dense`; a batch that is last in memory stays so."""
    programs = None if fn is None else programs_of(fn, x.dtype)
    if x.ndim == 2 and (fn is None or programs is not None):
        output, gradient, from_output = programs or (None, None, True)
        y = _empty(len(x), w.shape[1], x)
        z = y if from_output else np.empty_like(y)
        try:
            compiled.dense(x, w, b, output and output.code, z, y)
        except ValueError:  # other dtypes: the portable form
            pass
        else:
            return y, None if gradient is None else Pullback(gradient, z)
    result: tuple[np.ndarray, Callable[[Any], Any] | None] = kernels.dense.portable(x, w, b, fn)
    return result


def dense_gradient(  # noqa: PLR0917
    dz: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    dw: np.ndarray | None,
    db: np.ndarray | None,
    need_dx: bool,
    below: Callable[[Any], Any] | None,
) -> np.ndarray | None:
    """See :func:`portanet.kernels.dense_gradient`."""
    if x.ndim == 2 and dw is not None:
        fused = below if need_dx and isinstance(below, Pullback) else None
        program, z = (fused.gradient.code, fused.saved) if fused else (None, None)
        dx = None if not need_dx else _empty(len(x), x.shape[1], x) if z is None else np.empty_like(z)
        try:
            compiled.dense_gradient(dz, x, w, dw, db, dx, program, z)
        except ValueError:  # other dtypes, or gaps in memory: the portable form
            pass
        else:
            return dx if dx is None or fused or below is None else below(dx)
    result: np.ndarray | None = kernels.dense_gradient.portable(dz, x, w, dw, db, need_dx, below)
    return result


def _empty(n_rows: int, n_columns: int, like: np.ndarray) -> np.ndarray:
    """Return a matrix in the memory order of another."""
    return np.empty((n_rows, n_columns), like.dtype, "C" if like.strides[0] >= like.strides[1] else "F")
