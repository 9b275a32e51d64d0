"""Pooling for CuPy. Each thread computes one element of the result from all elements that contribute to it."""

import cupy

from portanet import kernels
from portanet.backends.cupy.source import Source, check_shape, contiguous
from portanet.backends.cupy.windows import WINDOW_MACROS, is_supported, macros
from portanet.kernels.windows import Window
from portanet.typing import Array

POOLING = Source(
    WINDOW_MACROS
    + """
KERNEL max_pool(INDEX n, const T* x, T* y) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, p0, p1, p2, c, OUTPUT0, OUTPUT1, OUTPUT2, CHANNELS);
  T maximum = -(T)(1.0 / 0.0);
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int s0 = INPUT_INDEX0(p0, k0), s1 = INPUT_INDEX1(p1, k1), s2 = INPUT_INDEX2(p2, k2);
    if (!IN_INPUT(s0, s1, s2)) continue;
    const T value = x[X(example, s0, s1, s2, c)];
    if (value > maximum || value != value) maximum = value;
  }
  y[i] = maximum;
}

// Whether an offset before (l0, l1, l2), in the order of the portable form, holds the maximum of the window.
__device__ bool is_earlier(const T* x, T maximum, INDEX example, int p0, int p1, int p2, int c,
                           int l0, int l1, int l2) {
  FOR_OFFSETS2 FOR_OFFSETS1 FOR_OFFSETS0 {
    if (k0 == l0 && k1 == l1 && k2 == l2) return false;
    const int s0 = INPUT_INDEX0(p0, k0), s1 = INPUT_INDEX1(p1, k1), s2 = INPUT_INDEX2(p2, k2);
    if (IN_INPUT(s0, s1, s2) && x[X(example, s0, s1, s2, c)] == maximum) return true;
  }
  return false;
}

KERNEL max_pool_gradient(INDEX n, const T* dy, const T* x, const T* y, T* dx) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, s0, s1, s2, c, INPUT0, INPUT1, INPUT2, CHANNELS);
  T sum = 0;
  FOR_OFFSETS2 FOR_OFFSETS1 FOR_OFFSETS0 {
    const int t0 = STRIDED_INDEX0(s0, k0), t1 = STRIDED_INDEX1(s1, k1), t2 = STRIDED_INDEX2(s2, k2);
    if (!IN_OUTPUT(t0, t1, t2)) continue;
    const int p0 = t0 / STRIDE0, p1 = t1 / STRIDE1, p2 = t2 / STRIDE2;
    const INDEX j = Y(example, p0, p1, p2, c);
    if (x[i] == y[j] && !is_earlier(x, y[j], example, p0, p1, p2, c, k0, k1, k2)) sum += dy[j];
  }
  dx[i] = sum;
}

KERNEL sum_pool(INDEX n, const T* x, T* y) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, p0, p1, p2, c, OUTPUT0, OUTPUT1, OUTPUT2, CHANNELS);
  T sum = 0;
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int s0 = INPUT_INDEX0(p0, k0), s1 = INPUT_INDEX1(p1, k1), s2 = INPUT_INDEX2(p2, k2);
    if (IN_INPUT(s0, s1, s2)) sum += x[X(example, s0, s1, s2, c)];
  }
  y[i] = sum;
}

KERNEL sum_pool_gradient(INDEX n, const T* dy, T* dx) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, s0, s1, s2, c, INPUT0, INPUT1, INPUT2, CHANNELS);
  T sum = 0;
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int t0 = STRIDED_INDEX0(s0, k0), t1 = STRIDED_INDEX1(s1, k1), t2 = STRIDED_INDEX2(s2, k2);
    if (IN_OUTPUT(t0, t1, t2)) sum += dy[Y(example, t0 / STRIDE0, t1 / STRIDE1, t2 / STRIDE2, c)];
  }
  dx[i] = sum;
}
"""
)


def max_pool(x: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.max_pool`."""
    if not is_supported(window, x):
        return kernels.max_pool.portable(x, window)
    return _launch("max_pool", window.output_shape, window, x=x)


def max_pool_gradient(dy: Array, x: Array, y: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.max_pool_gradient`."""
    if not is_supported(window, dy, x, y):
        return kernels.max_pool_gradient.portable(dy, x, y, window)
    return _launch("max_pool_gradient", window.input_shape, window, dy=dy, x=x, y=y)


def sum_pool(x: Array, window: Window, factor: float = 1.0) -> Array:
    """See :func:`portanet.kernels.sum_pool`."""
    if not is_supported(window, x):
        return kernels.sum_pool.portable(x, window, factor)
    y = _launch("sum_pool", window.output_shape, window, x=x)
    return y if factor == 1.0 else y * factor


def sum_pool_gradient(dy: Array, window: Window, factor: float = 1.0) -> Array:
    """See :func:`portanet.kernels.sum_pool_gradient`."""
    if not is_supported(window, dy):
        return kernels.sum_pool_gradient.portable(dy, window, factor)
    return _launch("sum_pool_gradient", window.input_shape, window, dy=dy if factor == 1.0 else dy * factor)


def _launch(name: str, spatial_shape: tuple[int, ...], window: Window, **arrays: Array) -> Array:
    """Return the result of a kernel of arrays x, y and dy, an array (N, *spatial_shape, C)."""
    first = next(iter(arrays.values()))
    n, channels, dtype = first.shape[0], first.shape[-1], first.dtype
    for argument, array in arrays.items():
        check_shape(argument, array, (n, *(window.input_shape if argument == "x" else window.output_shape), channels))
    out = cupy.empty((n, *spatial_shape, channels), dtype=dtype)
    POOLING.launch(name, out.size, dtype, *map(contiguous, arrays.values()), out, **macros(window, channels))
    return out
