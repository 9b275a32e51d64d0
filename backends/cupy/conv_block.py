"""
A convolution of few weights with the max pooling and the activation after it: one kernel, and one for each gradient.

One thread computes one output, or one element of dx, and one block a row of the gradient of the weights, all in full
precision. The products of cuBLAS, and launches for the columns, the pooling and the activation, are estimated to take
longer; it was not measured on a GPU.
"""

import math

import cupy

from portanet import kernels
from portanet.backends.cupy.dense import IDENTITY
from portanet.backends.cupy.elementwise import TracedPullback
from portanet.backends.cupy.source import THREADS_PER_BLOCK, Source, check_shape, contiguous
from portanet.backends.cupy.tracing import TracedFn
from portanet.backends.cupy.windows import WINDOW_MACROS, is_supported, macros
from portanet.kernels.conv_block import ConvBlockPullback
from portanet.kernels.elementwise import ElementwiseFn
from portanet.kernels.windows import Window
from portanet.typing import Array

MAX_WEIGHTS, MAX_PRODUCTS = 2**12, 2**27
"""Maximum number of weights, and of multiplications in the convolution of a batch. They are not tuned on a GPU."""

BLOCK_MACROS = (
    WINDOW_MACROS
    + """
// The sizes of the pooling window begin with POOL_; POOL_SIZE is 1 without pooling. POOL_CHANNELS are those of y.
#define IS_POOLED (POOL_SIZE0 * POOL_SIZE1 * POOL_SIZE2 > 1)

// Flat index of a weight, and of a position in the output of the convolution of one example.
#define W(k0, k1, k2, c, o) (((((k0) * SIZE1 + (k1)) * SIZE2 + (k2)) * CHANNELS + (c)) * POOL_CHANNELS + (o))
#define POSITION(p0, p1, p2) (((p0) * OUTPUT1 + (p1)) * OUTPUT2 + (p2))
"""
)

FORWARD = Source(
    BLOCK_MACROS
    + """
__device__ T convolution(const T* input, const T* w, INDEX example, int p0, int p1, int p2, int o) {
  T sum = 0;
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int s0 = INPUT_INDEX0(p0, k0), s1 = INPUT_INDEX1(p1, k1), s2 = INPUT_INDEX2(p2, k2);
    if (!IN_INPUT(s0, s1, s2)) continue;
    const T* channels = input + X(example, s0, s1, s2, 0);
    for (int c = 0; c < CHANNELS; ++c) sum += channels[c] * w[W(k0, k1, k2, c, o)];
  }
  return sum;
}

// x is the output before the activation. argmax is the flat position of the first maximum, in the order of the portable
// form; -1 if it is NaN, which gets no gradient.
KERNEL conv_block(INDEX n, const T* input, const T* w, const T* bias, T* x, T* out, int* argmax) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, q0, q1, q2, o, POOL_OUTPUT0, POOL_OUTPUT1, POOL_OUTPUT2, POOL_CHANNELS);
  T maximum = -(T)(1.0 / 0.0);
  int position = POSITION(q0 * POOL_SIZE0, q1 * POOL_SIZE1, q2 * POOL_SIZE2);
  for (int p2 = q2 * POOL_SIZE2; p2 < (q2 + 1) * POOL_SIZE2; ++p2)
    for (int p1 = q1 * POOL_SIZE1; p1 < (q1 + 1) * POOL_SIZE1; ++p1)
      for (int p0 = q0 * POOL_SIZE0; p0 < (q0 + 1) * POOL_SIZE0; ++p0) {
        const T value = convolution(input, w, example, p0, p1, p2, o) + (HAS_BIAS ? bias[o] : 0);
        if (value > maximum) maximum = value, position = POSITION(p0, p1, p2);
        if (value != value) maximum = value, position = -1;
      }
  if (IS_POOLED) argmax[i] = position;
  x[i] = maximum;
  STATEMENTS
  out[i] = RESULT;
}
"""
)

WEIGHT_GRADIENT = Source(
    BLOCK_MACROS
    + """
// Each block computes the gradient of row j of the weights, one offset and input channel, for up to 256 outputs. With
// fewer of them, its threads share the examples. The row after the last one is the bias.
#define OUTPUTS_AT_ONCE (POOL_CHANNELS < 256 ? POOL_CHANNELS : 256)
#define ROWS_AT_ONCE (256 / OUTPUTS_AT_ONCE)

KERNEL conv_block_weight_gradient(INDEX n, const T* x, const T* dz, const int* argmax, T* dw, T* db, INDEX first,
                                  INDEX rows) {
  THREAD_INDEX(i);
  __shared__ T sums[256];
  const int parts = (POOL_CHANNELS + 255) / 256, part = i / 256 % parts, j = first + i / 256 / parts;
  UNRAVEL(j, is_bias, k0, k1, k2, c, SIZE0, SIZE1, SIZE2, CHANNELS);
  const int t = threadIdx.x, o = part * 256 + t % OUTPUTS_AT_ONCE;
  const bool has_work = t < ROWS_AT_ONCE * OUTPUTS_AT_ONCE && o < POOL_CHANNELS;
  T sum = 0;
  for (INDEX row = t / OUTPUTS_AT_ONCE; has_work && row < rows; row += ROWS_AT_ONCE) {
    const INDEX at = row * POOL_CHANNELS + o, example = row / (POOL_OUTPUT0 * POOL_OUTPUT1 * POOL_OUTPUT2);
    const int position = IS_POOLED ? argmax[at] : row % (OUTPUT0 * OUTPUT1 * OUTPUT2);
    const int s0 = INPUT_INDEX0(position / OUTPUT2 / OUTPUT1, k0), s1 = INPUT_INDEX1(position / OUTPUT2 % OUTPUT1, k1);
    const int s2 = INPUT_INDEX2(position % OUTPUT2, k2);
    if (position < 0) continue;
    if (is_bias) sum += dz[at];
    else if (IN_INPUT(s0, s1, s2)) sum += dz[at] * x[X(example, s0, s1, s2, c)];
  }
  sums[t] = sum;
  __syncthreads();
  if (t >= OUTPUTS_AT_ONCE || o >= POOL_CHANNELS) return;
  for (int row = 1; row < ROWS_AT_ONCE; ++row) sum += sums[row * OUTPUTS_AT_ONCE + t];
  (is_bias ? db[o] : dw[j * POOL_CHANNELS + o]) = sum;
}
"""
)

INPUT_GRADIENT = Source(
    BLOCK_MACROS
    + """
// dx sums over the convolution windows that contain it; with pooling, only over those that were a maximum.
KERNEL conv_block_input_gradient(INDEX n, const T* dz, const T* w, const int* argmax, T* dx) {
  THREAD_INDEX(i);
  UNRAVEL(i, example, s0, s1, s2, c, INPUT0, INPUT1, INPUT2, CHANNELS);
  T sum = 0;
  FOR_OFFSETS0 FOR_OFFSETS1 FOR_OFFSETS2 {
    const int t0 = STRIDED_INDEX0(s0, k0), t1 = STRIDED_INDEX1(s1, k1), t2 = STRIDED_INDEX2(s2, k2);
    if (!IN_OUTPUT(t0, t1, t2)) continue;
    const int p0 = t0 / STRIDE0, p1 = t1 / STRIDE1, p2 = t2 / STRIDE2;
    const int q0 = p0 / POOL_SIZE0, q1 = p1 / POOL_SIZE1, q2 = p2 / POOL_SIZE2;
    if (q0 >= POOL_OUTPUT0 || q1 >= POOL_OUTPUT1 || q2 >= POOL_OUTPUT2) continue;
    const INDEX row = ((example * POOL_OUTPUT0 + q0) * POOL_OUTPUT1 + q1) * POOL_OUTPUT2 + q2;
    for (int o = 0; o < POOL_CHANNELS; ++o) {
      const INDEX at = row * POOL_CHANNELS + o;
      const bool is_maximum = !IS_POOLED || argmax[at] == POSITION(p0, p1, p2);
      sum += (is_maximum ? dz[at] : 0) * w[W(k0, k1, k2, c, o)];
    }
  }
  dx[i] = sum;
}
"""
)


def conv_block(  # noqa: PLR0917
    x: Array,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int,
    pool: Window | None,
    fn: ElementwiseFn | None,
) -> tuple[Array, ConvBlockPullback]:
    """See :func:`portanet.kernels.conv_block`."""
    pooling = _no_pooling(window) if pool is None else pool
    arrays = (x, w) if b is None else (x, w, b)
    fits = groups == 1 and is_supported(window, *arrays) and _is_small(x, w, window)
    fits = fits and pooling.non_overlapping and pooling.input_shape == window.output_shape
    traced = TracedFn.trace(fn, x.dtype) if fits and fn is not None else None
    if not fits or (fn is not None and traced is None):
        result: tuple[Array, ConvBlockPullback] = kernels.conv_block.portable(x, w, b, window, groups, pool, fn)
        return result
    channels, n_out = w.shape[-2:]
    check_shape("x", x, (x.shape[0], *window.input_shape, channels))
    check_shape("w", w, (*window.size, channels, n_out))
    if b is not None:
        check_shape("b", b, (n_out,))
    x, w, y = contiguous(x), contiguous(w), cupy.empty((x.shape[0], *pooling.output_shape, n_out), dtype=x.dtype)
    z = cupy.empty_like(y) if traced is not None and not traced.from_output else y
    argmax = cupy.empty(1 if pool is None else y.shape, dtype="int32")
    sizes = {**macros(window, channels), **{f"POOL_{name}": n for name, n in macros(pooling, n_out).items()}}
    output = {"HAS_BIAS": int(b is not None), **(IDENTITY if traced is None else traced.output)}
    arguments = x, w, w if b is None else contiguous(b), z, y, argmax
    FORWARD.launch("conv_block", y.size, x.dtype, *arguments, **sizes, **output)

    def pullback(dy: Array, dw: Array | None, db: Array | None, need_dx: bool) -> Array | None:
        for name, array, shape in (("dy", dy, y.shape), ("dw", dw, w.shape), ("db", db, (n_out,))):
            if array is not None:
                check_shape(name, array, shape)
        dz = contiguous(dy) if traced is None else TracedPullback(traced.derivative, z, z)(dy)
        _write_weight_gradients(x, dz, argmax, w, dw, db, sizes)
        if not need_dx:
            return None
        dx = cupy.empty_like(x)
        INPUT_GRADIENT.launch("conv_block_input_gradient", dx.size, x.dtype, dz, w, argmax, dx, **sizes)
        return dx

    return y, pullback


def _write_weight_gradients(  # noqa: PLR0917
    x: Array, dz: Array, argmax: Array, w: Array, dw: Array | None, db: Array | None, sizes: dict[str, int]
) -> None:
    """Overwrite the gradients of the weights and the bias, those that are not None, in one launch."""
    given = [array for array in (dw, db) if array is not None]
    if not given:
        return
    sums = [array if array.flags.c_contiguous else cupy.empty(array.shape, dtype=array.dtype) for array in given]
    n_out, n_rows = w.shape[-1], w.size // w.shape[-1]
    first, stop = n_rows if dw is None else 0, n_rows + (db is not None)
    n_blocks = (stop - first) * -(-n_out // THREADS_PER_BLOCK)
    arguments = x, dz, argmax, sums[0], sums[-1], first, dz.size // n_out
    WEIGHT_GRADIENT.launch("conv_block_weight_gradient", THREADS_PER_BLOCK * n_blocks, x.dtype, *arguments, **sizes)
    for array, total in zip(given, sums, strict=True):
        if total is not array:
            array[...] = total


def _is_small(x: Array, w: Array, window: Window) -> bool:
    products: int = x.shape[0] * math.prod(window.output_shape) * w.size
    return bool(w.size <= MAX_WEIGHTS and products <= MAX_PRODUCTS)


def _no_pooling(window: Window) -> Window:
    """Return a pooling window of one element, which changes nothing."""
    ones = (1,) * window.n_axes
    return Window.fit(window.output_shape, ones, stride=ones, dilation=ones, padding="valid")
