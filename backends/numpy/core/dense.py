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
    programs = None if fn is None else programs_of(fn, x.dtype)
    if x.ndim == 2 and (fn is None or programs is not None):
        output, gradient, from_output = programs or (None, None, True)
        y = empty_matrix(len(x), w.shape[1], x)
        z = y if from_output else np.empty_like(y)
        try:
            compiled.dense(x, w, b, output and output.code, z, y)
        except ValueError:  # other dtypes: the portable form
            pass
        else:
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
    if x.ndim == 2 and dw is not None:
        fused = below if need_dx and isinstance(below, Pullback) else None
        program, z = (fused.gradient.code, fused.saved) if fused else (None, None)
        dx = None if not need_dx else empty_matrix(len(x), x.shape[1], x) if z is None else np.empty_like(z)
        try:
            compiled.dense_gradient(dz, x, w, dw, db, dx, program, z)
        except ValueError:  # other dtypes, or gaps in memory: the portable form
            pass
        else:
            return dx if dx is None or fused or below is None else below(dx)
    portable: np.ndarray | None = kernels.dense_gradient.portable(dz, x, w, dw, db, need_dx, below)
    return portable
