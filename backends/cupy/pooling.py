"""Pooling for CuPy: a thread a number of the result, which gathers what it is made of."""

import cupy

from portanet import kernels
from portanet.backends.cupy.source import Source, contiguous
from portanet.backends.cupy.windows import INDICES, fits, macros
from portanet.kernels.windows import Window
from portanet.typing import Array

POOLING = Source(
    INDICES
    + """
KERNEL max_pool(INDEX n, const T* x, T* y) {
  EACH(i);
  UNRAVEL(i, example, p0, p1, p2, c, PLACES0, PLACES1, PLACES2);
  T largest = -(T)(1.0 / 0.0);
  CELLS0 CELLS1 CELLS2 {
    const int s0 = CELL0(p0, k0), s1 = CELL1(p1, k1), s2 = CELL2(p2, k2);
    if (!INSIDE(s0, s1, s2)) continue;
    const T value = x[X(example, s0, s1, s2, c)];
    if (value > largest || value != value) largest = value;
  }
  y[i] = largest;
}

// Whether a cell before k, in the order of the portable form, is the largest of its window already.
__device__ bool taken(const T* x, T largest, INDEX example, int p0, int p1, int p2, int c, int l0, int l1, int l2) {
  CELLS2 CELLS1 CELLS0 {
    if (k0 == l0 && k1 == l1 && k2 == l2) return false;
    const int s0 = CELL0(p0, k0), s1 = CELL1(p1, k1), s2 = CELL2(p2, k2);
    if (INSIDE(s0, s1, s2) && x[X(example, s0, s1, s2, c)] == largest) return true;
  }
  return false;
}

KERNEL max_pool_gradient(INDEX n, const T* dy, const T* x, const T* y, T* dx) {
  EACH(i);
  UNRAVEL(i, example, s0, s1, s2, c, SPACE0, SPACE1, SPACE2);
  T sum = 0;
  CELLS2 CELLS1 CELLS0 {
    const int t0 = PLACE0(s0, k0), t1 = PLACE1(s1, k1), t2 = PLACE2(s2, k2);
    if (!ARE_PLACES(t0, t1, t2)) continue;
    const int p0 = t0 / STRIDE0, p1 = t1 / STRIDE1, p2 = t2 / STRIDE2;
    const INDEX j = Y(example, p0, p1, p2, c);
    if (x[i] == y[j] && !taken(x, y[j], example, p0, p1, p2, c, k0, k1, k2)) sum += dy[j];
  }
  dx[i] = sum;
}

KERNEL sum_pool(INDEX n, const T* x, T* y) {
  EACH(i);
  UNRAVEL(i, example, p0, p1, p2, c, PLACES0, PLACES1, PLACES2);
  T sum = 0;
  CELLS0 CELLS1 CELLS2 {
    const int s0 = CELL0(p0, k0), s1 = CELL1(p1, k1), s2 = CELL2(p2, k2);
    if (INSIDE(s0, s1, s2)) sum += x[X(example, s0, s1, s2, c)];
  }
  y[i] = sum;
}

KERNEL sum_pool_gradient(INDEX n, const T* dy, T* dx) {
  EACH(i);
  UNRAVEL(i, example, s0, s1, s2, c, SPACE0, SPACE1, SPACE2);
  T sum = 0;
  CELLS0 CELLS1 CELLS2 {
    const int t0 = PLACE0(s0, k0), t1 = PLACE1(s1, k1), t2 = PLACE2(s2, k2);
    if (ARE_PLACES(t0, t1, t2)) sum += dy[Y(example, t0 / STRIDE0, t1 / STRIDE1, t2 / STRIDE2, c)];
  }
  dx[i] = sum;
}
"""
)


def max_pool(x: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.max_pool`."""
    if not fits(window, x):
        return kernels.max_pool.portable(x, window)
    return _gather("max_pool", window.output_shape, window, x)


def max_pool_gradient(dy: Array, x: Array, y: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.max_pool_gradient`."""
    if not fits(window, dy, x, y):
        return kernels.max_pool_gradient.portable(dy, x, y, window)
    return _gather("max_pool_gradient", window.input_shape, window, dy, x, y)


def sum_pool(x: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.sum_pool`."""
    if not fits(window, x):
        return kernels.sum_pool.portable(x, window)
    return _gather("sum_pool", window.output_shape, window, x)


def sum_pool_gradient(dy: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.sum_pool_gradient`."""
    if not fits(window, dy):
        return kernels.sum_pool_gradient.portable(dy, window)
    return _gather("sum_pool_gradient", window.input_shape, window, dy)


def _gather(name: str, axes: tuple[int, ...], window: Window, *arrays: Array) -> Array:
    first, channels = arrays[0], arrays[0].shape[-1]
    made = cupy.empty((first.shape[0], *axes, channels), dtype=first.dtype)
    arguments = *map(contiguous, arrays), made
    POOLING.launch(name, made.size, made.dtype, *arguments, **macros(window, channels))
    return made
