"""Convolution for CuPy: im2col and one cuBLAS matrix product, for a limited number of examples at a time."""

import math
from collections.abc import Iterator

import cupy

from portanet import kernels
from portanet.backends.cupy.blas import multiply
from portanet.backends.cupy.kernels import bias_grad
from portanet.backends.cupy.source import Source, check_shape, contiguous
from portanet.backends.cupy.windows import WINDOW_MACROS, is_supported, macros
from portanet.kernels.conv import ConvGradients, write
from portanet.kernels.slices import slices
from portanet.kernels.windows import Window
from portanet.typing import Array

MAX_COLUMNS_BYTES = 2**28
"""Maximum size of the im2col matrix; that of one example may exceed it."""

MAX_KEPT_COLUMNS_BYTES = 2**27
"""Maximum size of the im2col matrix that a layer keeps for its gradient, instead of computing it again."""

CONVOLUTION = Source(
    WINDOW_MACROS
    + """
// The row of the columns is an (example, output position), its elements are (offset, channel). What comes after them is
// y, to which the product is added: the threads there write the bias.
KERNEL im2col(INDEX n, const T* x, T* columns, INDEX size, const T* bias, T* y, INDEX n_out) {
  THREAD_INDEX(i);
  if (i >= size) {
    y[i - size] = bias[(i - size) % n_out];
    return;
  }
  const int c = i % CHANNELS, k2 = i / CHANNELS % SIZE2, k1 = i / CHANNELS / SIZE2 % SIZE1;
  const int k0 = i / CHANNELS / SIZE2 / SIZE1 % SIZE0;
  const INDEX row = i / CHANNELS / SIZE2 / SIZE1 / SIZE0;
  const int p2 = row % OUTPUT2, p1 = row / OUTPUT2 % OUTPUT1, p0 = row / OUTPUT2 / OUTPUT1 % OUTPUT0;
  const INDEX example = row / OUTPUT2 / OUTPUT1 / OUTPUT0;
  const int s0 = INPUT_INDEX0(p0, k0), s1 = INPUT_INDEX1(p1, k1), s2 = INPUT_INDEX2(p2, k2);
  columns[i] = IN_INPUT(s0, s1, s2) ? x[X(example, s0, s1, s2, c)] : 0;
}

// Each element of dx sums the columns of all windows that contain it.
KERNEL col2im(INDEX n, const T* columns, T* dx) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, s0, s1, s2, c, INPUT0, INPUT1, INPUT2, CHANNELS);
  T sum = 0;
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int t0 = STRIDED_INDEX0(s0, k0), t1 = STRIDED_INDEX1(s1, k1), t2 = STRIDED_INDEX2(s2, k2);
    if (!IN_OUTPUT(t0, t1, t2)) continue;
    const INDEX row = ((example * OUTPUT0 + t0 / STRIDE0) * OUTPUT1 + t1 / STRIDE1) * OUTPUT2 + t2 / STRIDE2;
    sum += columns[(((row * SIZE0 + k0) * SIZE1 + k1) * SIZE2 + k2) * CHANNELS + c];
  }
  dx[i] = sum;
}
"""
)


def conv(x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None) -> Array:
    """See :func:`portanet.kernels.conv`."""
    if groups > 1 or not is_supported(window, x, w):
        return kernels.conv.portable(x, w, window, groups, bias)
    x, n_out = contiguous(x), w.shape[-1]
    check_shape("x", x, (x.shape[0], *window.input_shape, w.shape[-2]))
    y = cupy.empty((x.shape[0], *window.output_shape, n_out), dtype=x.dtype)
    for examples in _chunks(window, x):
        _multiply_columns(x[examples], w, window, bias, y[examples])
    return y


def conv_vjp(
    x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None
) -> tuple[Array, ConvGradients]:
    """Keep the columns for the gradient, if they are few."""
    few = x.size > 0 and _columns_bytes(window, x) * x.shape[0] <= MAX_KEPT_COLUMNS_BYTES
    if groups > 1 or not is_supported(window, x, w) or not few:
        result: tuple[Array, ConvGradients] = kernels.conv_vjp.portable(x, w, window, groups, bias)
        return result
    check_shape("x", x, (x.shape[0], *window.input_shape, w.shape[-2]))
    n_out = w.shape[-1]
    y = cupy.empty((x.shape[0], *window.output_shape, n_out), dtype=x.dtype)
    columns, shape = _multiply_columns(contiguous(x), w, window, bias, y), y.shape

    def gradients(dy: Array, dw: Array | None, db: Array | None, add: bool) -> None:
        check_shape("dy", dy, shape)
        if dw is not None and dw.flags.c_contiguous and dy.dtype == dw.dtype == x.dtype:
            multiply(dw.reshape(-1, n_out), columns.T, contiguous(dy).reshape(-1, n_out), add=add)
        elif dw is not None:
            write(dw, conv_weight_gradient(x, dy, window), add)
        if db is not None and db.flags.c_contiguous and db.dtype == dy.dtype:
            bias_grad(dy, db, add=add)
        elif db is not None:
            write(db, bias_grad(dy), add)

    return y, gradients


def conv_weight_gradient(x: Array, dy: Array, window: Window, groups: int = 1) -> Array:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if groups > 1 or not is_supported(window, x, dy):
        return kernels.conv_weight_gradient.portable(x, dy, window, groups)
    x, dy, n_out = contiguous(x), contiguous(dy), dy.shape[-1]
    check_shape("x", x, (x.shape[0], *window.input_shape, x.shape[-1]))
    check_shape("dy", dy, (x.shape[0], *window.output_shape, n_out))
    create = cupy.empty if x.shape[0] else cupy.zeros  # the first product overwrites it
    dw = create((math.prod(window.size) * x.shape[-1], n_out), dtype=x.dtype)
    for examples in _chunks(window, x):
        multiply(dw, _columns(x[examples], window).T, dy[examples].reshape(-1, n_out), add=examples.start != 0)
    return dw.reshape(*window.size, x.shape[-1], n_out)


def conv_input_gradient(dy: Array, w: Array, window: Window, groups: int = 1) -> Array:
    """See :func:`portanet.kernels.conv_input_gradient`."""
    if groups > 1 or not is_supported(window, dy, w):
        return kernels.conv_input_gradient.portable(dy, w, window, groups)
    dy, (n_in, n_out) = contiguous(dy), w.shape[-2:]
    check_shape("dy", dy, (dy.shape[0], *window.output_shape, n_out))
    dx = cupy.empty((dy.shape[0], *window.input_shape, n_in), dtype=dy.dtype)
    for examples in _chunks(window, dx):
        rows, out = dy[examples].reshape(-1, n_out), dx[examples]
        columns = cupy.empty((rows.shape[0], math.prod(window.size) * n_in), dtype=dy.dtype)
        multiply(columns, rows, w.reshape(-1, n_out).T)
        CONVOLUTION.launch("col2im", out.size, dx.dtype, columns, out, **macros(window, n_in))
    return dx


def _multiply_columns(x: Array, w: Array, window: Window, bias: Array | None, y: Array) -> Array:
    """Write the convolution into y; return the columns of x."""
    n_out = w.shape[-1]
    if bias is not None:
        check_shape("bias", bias, (n_out,))
    columns = _columns(x, window, bias, y)
    multiply(y.reshape(-1, n_out), columns, w.reshape(-1, n_out), add=bias is not None)
    return columns


def _columns(x: Array, window: Window, bias: Array | None = None, y: Array | None = None) -> Array:
    """Return the columns of x, and write a bias into each row of y."""
    n_rows, channels = x.shape[0] * math.prod(window.output_shape), x.shape[-1]
    columns = cupy.empty((n_rows, math.prod(window.size) * channels), dtype=x.dtype)
    n, others = columns.size, (columns, columns, 1)
    if bias is not None and y is not None:
        n, others = n + y.size, (contiguous(bias), y, bias.size)
    CONVOLUTION.launch("im2col", n, x.dtype, x, columns, columns.size, *others, **macros(window, channels))
    return columns


def _chunks(window: Window, x: Array) -> Iterator[slice]:
    """Slices of the examples in x, (N, *input_shape, C), whose columns fit into ``MAX_COLUMNS_BYTES``."""
    return slices(x.shape[0], max(1, MAX_COLUMNS_BYTES // _columns_bytes(window, x)))


def _columns_bytes(window: Window, x: Array) -> int:
    """Size of the columns of one example."""
    return int(math.prod(window.output_shape) * math.prod(window.size) * x.shape[-1] * x.dtype.itemsize)
