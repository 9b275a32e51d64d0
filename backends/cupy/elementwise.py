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
from portanet.backends.cupy.kernels import bias_grad
from portanet.backends.cupy.source import BLOCK_SUM, THREADS_PER_BLOCK, Source, check_shape, contiguous
from portanet.kernels.elementwise import ElementwiseFn, scaled_by
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

MEAN = Source(
    BLOCK_SUM
    + """
// Each block of 256 threads adds up its part of the mean.
KERNEL mean_elementwise(INDEX n, const T* x, const T* other, T* partial_means, T* gradient, INDEX size) {
  THREAD_INDEX(first);
  T sum = 0;
  for (INDEX i = first; i < size; i += n) {
    { STATEMENTS sum += RESULT; }
    { STATEMENTS_OF_GRADIENT gradient[i] = RESULT_OF_GRADIENT / size; }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial_means[first / 256] = sum / size;
}
"""
)

ELEMENTS_PER_BLOCK, MAX_PARTIAL_MEANS = 1024, 1024
"""Elements per block; beyond the maximum number of blocks, each sums more. They are not tuned on a GPU."""


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


def mean_elementwise(x: Array, fn: ElementwiseFn, t: Array) -> tuple[Array, Callable[[float | Array], Array]]:
    """Compute gradient and mean in one kernel, or the mean of several blocks in another one."""
    check_shape("t", t, x.shape)
    supported = _is_supported(x) and t.dtype == x.dtype and x.size > 0
    traced = tracing.TracedFn.trace(fn, x.dtype, has_other=True) if supported else None
    if traced is None or traced.from_output:
        result: tuple[Array, Callable[[float | Array], Array]] = kernels.mean_elementwise.portable(x, fn, t)
        return result
    n_blocks = min(-(-x.size // ELEMENTS_PER_BLOCK), MAX_PARTIAL_MEANS)
    partial_means, gradient = cupy.empty((n_blocks, 1), dtype=x.dtype), cupy.empty(x.shape, dtype=x.dtype)
    macros = {**traced.output, **{f"{name}_OF_GRADIENT": value for name, value in traced.derivative.items()}}
    arrays = contiguous(x), contiguous(t), partial_means, gradient
    MEAN.launch("mean_elementwise", THREADS_PER_BLOCK * n_blocks, x.dtype, *arrays, x.size, **macros)
    mean = (partial_means if n_blocks == 1 else bias_grad(partial_means)).reshape(())
    return mean, scaled_by(gradient)


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
