"""
Elementwise functions for CuPy, as one kernel for the output and one for the gradient.

Every activation and every elementwise loss is compiled so, user-defined ones too. A function that cannot be traced,
because it branches on a value for instance, uses the portable form.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cupy

from portanet import kernels
from portanet.backends.cupy import tracing
from portanet.backends.cupy.source import Source, contiguous
from portanet.kernels.elementwise import ElementwiseFn
from portanet.typing import Array

ELEMENTWISE = Source("""
KERNEL elementwise(INDEX n, const T* x, const T* other, T* out) {
  THREAD_INDEX(i);
  STATEMENTS
  out[i] = RESULT;
}
""")

GRADIENT = Source("""
// x is the output of the function where the derivative is computed from that.
KERNEL elementwise_gradient(INDEX n, const T* x, const T* other, const T* dy, T scalar_dy, T* dx) {
  THREAD_INDEX(i);
  STATEMENTS
  dx[i] = DY * RESULT;
}
""")


def elementwise(x: Array, fn: ElementwiseFn, t: Array | None = None) -> tuple[Array, Callable[[float | Array], Array]]:
    """See :func:`portanet.kernels.elementwise`."""
    same_kind = t is None or (t.dtype, t.shape) == (x.dtype, x.shape)
    traced = tracing.TracedFn.trace(fn, x.dtype, has_other=t is not None) if _is_supported(x) and same_kind else None
    if traced is None:
        return kernels.elementwise.portable(x, fn, t)
    x = contiguous(x)
    other, y = x if t is None else contiguous(t), cupy.empty_like(x)
    ELEMENTWISE.launch("elementwise", x.size, x.dtype, x, other, y, **traced.output)
    saved = y if traced.from_output else x
    return y, TracedPullback(traced.derivative, saved, saved if t is None else other)


@dataclass(frozen=True, eq=False)
class TracedPullback:
    """
    The function ``dy -> dx = dy f'(x)`` of a traced function.

    Parameters
    ----------
    derivative : dict of str to str
        See :class:`portanet.backends.cupy.tracing.TracedFn`.
    saved : array
        What the derivative is computed from: x, or the output.
    other : array
        Second argument of the function, or any array if there is none.
    """

    derivative: dict[str, int | str]
    saved: Array
    other: Array

    def __call__(self, dy: float | Array) -> Array:
        """Return dx."""
        saved, array, scalar, expression = self.saved, self.saved, 1.0, "dy[i]"
        if isinstance(dy, cupy.ndarray):
            array = contiguous(cupy.broadcast_to(dy, saved.shape).astype(saved.dtype, copy=False))
        else:
            scalar, expression = float(dy), "scalar_dy"
        dx = cupy.empty_like(saved)
        arguments = saved, self.other, array, scalar, dx
        GRADIENT.launch("elementwise_gradient", saved.size, saved.dtype, *arguments, **self.derivative, DY=expression)
        return dx


def sigmoid(x: Array) -> Array:
    """See :func:`portanet.kernels.sigmoid`."""
    if not _is_supported(x):
        return kernels.sigmoid.portable(x)
    return elementwise(x, lambda xp, x: (kernels.sigmoid(x), lambda: 1.0))[0]


def erfcx(x: Array) -> Array:
    """See :func:`portanet.kernels.erfcx`."""
    if not _is_supported(x):
        return kernels.erfcx.portable(x)
    return elementwise(x, lambda xp, x: (kernels.erfcx(x), lambda: 1.0))[0]


def _is_supported(x: Array) -> bool:
    return x.dtype.name in ("float32", "float64")
