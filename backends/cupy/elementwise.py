"""
Functions of single numbers for CuPy, one kernel each way.

So any activation is one kernel, and so are the terms of a loss, a user's own too. What is no formula, since it asks
whether a number is positive, say, takes the portable form.
"""

from collections.abc import Callable

import cupy

from portanet import kernels
from portanet.backends.cupy import formulas
from portanet.backends.cupy.source import Source, contiguous
from portanet.kernels.elementwise import ElementwiseFn
from portanet.typing import Array

ELEMENTWISE = Source("""
KERNEL elementwise(INDEX n, const T* given, const T* beside, T* made) {
  EACH(i);
  STEPS
  made[i] = RESULT;
}
""")

GRADIENT = Source("""
KERNEL elementwise_gradient(INDEX n, const T* given, const T* beside, const T* dy, T factor, T* dx) {
  EACH(i);
  STEPS
  dx[i] = DY * RESULT;
}
""")


def elementwise(
    x: Array, formula: ElementwiseFn, t: Array | None = None
) -> tuple[Array, Callable[[float | Array], Array]]:
    """See :func:`portanet.kernels.elementwise`."""
    alike = t is None or (t.dtype, t.shape) == (x.dtype, x.shape)
    code = formulas.Code.of(formula, x.dtype, beside=t is not None) if _fits(x) and alike else None
    if code is None:
        return kernels.elementwise.portable(x, formula, t)
    x = contiguous(x)
    beside, y = x if t is None else contiguous(t), cupy.empty_like(x)
    ELEMENTWISE.launch("elementwise", x.size, x.dtype, x, beside, y, **code.value)
    kept = y if code.of_result else x

    def pull(dy: float | Array) -> Array:
        dx, rises, factor, how = cupy.empty_like(kept), kept, 1.0, "dy[i]"
        if isinstance(dy, cupy.ndarray):
            rises = contiguous(cupy.broadcast_to(dy, kept.shape).astype(kept.dtype, copy=False))
        else:
            factor, how = float(dy), "factor"
        arguments = kept, beside, rises, factor, dx
        GRADIENT.launch("elementwise_gradient", kept.size, kept.dtype, *arguments, **code.slope, DY=how)
        return dx

    return y, pull


def sigmoid(x: Array) -> Array:
    """See :func:`portanet.kernels.sigmoid`."""
    return (
        elementwise(x, lambda xp, x: (formulas.sigmoid(x), lambda: 1.0))[0] if _fits(x) else kernels.sigmoid.portable(x)
    )


def erf(x: Array) -> Array:
    """See :func:`portanet.kernels.erf`."""
    return elementwise(x, lambda xp, x: (formulas.erf(x), lambda: 1.0))[0] if _fits(x) else kernels.erf.portable(x)


def _fits(x: Array) -> bool:
    return x.dtype.name in ("float32", "float64")
