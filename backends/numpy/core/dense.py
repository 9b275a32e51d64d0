"""Dense layers by the compiled kernels: bias and activation are computed with the product, while the cache holds it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.elementwise import Pullback, programs_of
from portanet.backends.numpy.core.products import empty_matrix


def dense(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, fn: Callable[..., Any] | None
) -> tuple[np.ndarray, Callable[[Any], Any] | None]:
    """See :func:`portanet.kernels.dense`; a batch that is last in memory stays so."""
    programs, rows = None if fn is None else programs_of(fn, x.dtype), _rows(x)
    if rows.ndim == 2 and (fn is None or programs is not None):
        output, gradient, from_output = programs or (None, None, True)
        y = empty_matrix(len(rows), w.shape[1], rows)
        z = y if from_output else np.empty_like(y)
        try:
            compiled.dense(rows, w, b, output and output.code, z, y)
        except ValueError:  # other dtypes: the portable form
            pass
        else:
            y, z = (a if x.ndim == 2 else a.reshape(*x.shape[:-1], w.shape[1]) for a in (y, z))
            return y, None if gradient is None else Pullback(gradient, z)
    portable: tuple[np.ndarray, Callable[[Any], Any] | None] = kernels.dense.portable(x, w, b, fn)
    return portable


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
    rows = _rows(x)
    if rows.ndim == 2 and dw is not None:
        fused = below if need_dx and isinstance(below, Pullback) else None
        program, z = (fused.gradient.code, _rows(fused.saved)) if fused else (None, None)
        dx = None if not need_dx else empty_matrix(len(rows), x.shape[-1], rows) if z is None else np.empty_like(z)
        try:
            compiled.dense_gradient(_rows(dz), rows, w, dw, db, dx, program, z)
        except ValueError:  # other dtypes, or gaps in memory: the portable form
            pass
        else:
            dx = dx if dx is None or x.ndim == 2 else dx.reshape(x.shape)
            return dx if dx is None or fused or below is None else below(dx)
    portable: np.ndarray | None = kernels.dense_gradient.portable(dz, x, w, dw, db, need_dx, below)
    return portable


def _rows(x: np.ndarray) -> np.ndarray:
    """View a contiguous array (N, ..., C) as a matrix; others are returned as they are."""
    return x.reshape(-1, x.shape[-1]) if x.ndim > 2 and x.flags.c_contiguous else x
