"""
Convolution for CuPy: columns of what the window sees at each place, and cuBLAS for their products with the weights.

Columns are made for as many examples at a time as fit into ``COLUMNS`` bytes; each is a matrix product of its own.
"""

import math
from collections.abc import Iterator

import cupy

from portanet import kernels
from portanet.backends.cupy.blas import multiply
from portanet.backends.cupy.source import Source, contiguous
from portanet.backends.cupy.windows import INDICES, fits, macros
from portanet.kernels.windows import Window
from portanet.typing import Array

COLUMNS = 2**28
"""Bytes of columns to hold at once."""

CONVOLUTION = Source(
    INDICES
    + """
// Row (example, place) of the columns holds (cell, channel).
KERNEL gather_columns(INDEX n, const T* x, T* columns) {
  EACH(i);
  const int c = i % CHANNELS, k2 = i / CHANNELS % SIZE2, k1 = i / CHANNELS / SIZE2 % SIZE1;
  const int k0 = i / CHANNELS / SIZE2 / SIZE1 % SIZE0;
  const INDEX row = i / CHANNELS / SIZE2 / SIZE1 / SIZE0;
  const int p2 = row % PLACES2, p1 = row / PLACES2 % PLACES1, p0 = row / PLACES2 / PLACES1 % PLACES0;
  const INDEX example = row / PLACES2 / PLACES1 / PLACES0;
  const int s0 = CELL0(p0, k0), s1 = CELL1(p1, k1), s2 = CELL2(p2, k2);
  columns[i] = INSIDE(s0, s1, s2) ? x[X(example, s0, s1, s2, c)] : 0;
}

// The way back: a number of x was seen from many places, and adds up what comes from them.
KERNEL sum_columns(INDEX n, const T* columns, T* dx) {
  EACH(i);
  UNRAVEL(i, example, s0, s1, s2, c, SPACE0, SPACE1, SPACE2);
  T sum = 0;
  CELLS0 CELLS1 CELLS2 {
    const int t0 = PLACE0(s0, k0), t1 = PLACE1(s1, k1), t2 = PLACE2(s2, k2);
    if (!ARE_PLACES(t0, t1, t2)) continue;
    const INDEX row = ((example * PLACES0 + t0 / STRIDE0) * PLACES1 + t1 / STRIDE1) * PLACES2 + t2 / STRIDE2;
    sum += columns[(((row * SIZE0 + k0) * SIZE1 + k1) * SIZE2 + k2) * CHANNELS + c];
  }
  dx[i] = sum;
}
"""
)


def conv(x: Array, w: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.conv`."""
    if not fits(window, x, w):
        return kernels.conv.portable(x, w, window)
    x, n_out = contiguous(x), w.shape[-1]
    y = cupy.empty((x.shape[0], *window.output_shape, n_out), dtype=x.dtype)
    for part in _parts(x.shape[0], window, x):
        multiply(y[part].reshape(-1, n_out), _columns(x[part], window), w.reshape(-1, n_out))
    return y


def conv_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if not fits(window, x, dy):
        return kernels.conv_weight_gradient.portable(x, dy, window)
    x, dy, n_out = contiguous(x), contiguous(dy), dy.shape[-1]
    dw = cupy.empty((math.prod(window.size) * x.shape[-1], n_out), dtype=x.dtype)
    for part in _parts(x.shape[0], window, x):
        multiply(dw, _columns(x[part], window).T, dy[part].reshape(-1, n_out), add=part.start != 0)
    return dw.reshape(*window.size, x.shape[-1], n_out)


def conv_input_gradient(dy: Array, w: Array, window: Window) -> Array:
    """See :func:`portanet.kernels.conv_input_gradient`."""
    if not fits(window, dy, w):
        return kernels.conv_input_gradient.portable(dy, w, window)
    dy, (n_in, n_out) = contiguous(dy), w.shape[-2:]
    dx = cupy.empty((dy.shape[0], *window.input_shape, n_in), dtype=dy.dtype)
    for part in _parts(dy.shape[0], window, dx):
        rows, here = dy[part].reshape(-1, n_out), dx[part]
        columns = cupy.empty((rows.shape[0], math.prod(window.size) * n_in), dtype=dy.dtype)
        multiply(columns, rows, w.reshape(-1, n_out).T)
        CONVOLUTION.launch("sum_columns", here.size, dx.dtype, columns, here, **macros(window, n_in))
    return dx


def _columns(x: Array, window: Window) -> Array:
    n_rows, channels = x.shape[0] * math.prod(window.output_shape), x.shape[-1]
    columns = cupy.empty((n_rows, math.prod(window.size) * channels), dtype=x.dtype)
    CONVOLUTION.launch("gather_columns", columns.size, x.dtype, x, columns, **macros(window, channels))
    return columns


def _parts(n: int, window: Window, x: Array) -> Iterator[slice]:
    """Examples whose columns fit; one empty part of none."""
    each = math.prod(window.output_shape) * math.prod(window.size) * x.shape[-1] * x.dtype.itemsize
    step = max(1, COLUMNS // each)
    return (slice(start, min(start + step, n)) for start in range(0, max(1, n), step))
