"""
Dense layers for CuPy: bias and activation in one kernel after a product, or with it where the product is small.

A small product is computed by eight threads for each output, in full precision. A call of cuBLAS, and launches for the
bias, the activation and the sums, are estimated to take longer; it was not measured on a GPU.
"""

from collections.abc import Callable
from typing import NamedTuple

import cupy

from portanet import kernels
from portanet.backends.cupy.blas import matmul
from portanet.backends.cupy.elementwise import TracedPullback
from portanet.backends.cupy.source import THREADS_PER_BLOCK, Source, check_shape, contiguous
from portanet.backends.cupy.tracing import TracedFn
from portanet.kernels.elementwise import ElementwiseFn
from portanet.typing import Array

MAX_ROWS, MAX_MULTIPLICATIONS = 1024, 2**25
"""Maximum size of a batch, and of rows times weights, of a small product. They are not tuned on a GPU."""

SPLIT_SUM = """
// Split-K: eight threads j, one in each warp, share the sum of each output i, so that reads of weights are coalesced.
#define SPLIT_INDEX(i, j) \\
  THREAD_INDEX(thread); \\
  const INDEX i = thread / 256 * 32 + threadIdx.x % 32; \\
  const int j = threadIdx.x / 32

// Sum over the eight threads; the first of them returns it.
__device__ T split_sum(T value) {
  __shared__ T sums[8][32];
  sums[threadIdx.x / 32][threadIdx.x % 32] = value;
  __syncthreads();
  for (int j = 1; j < 8; ++j) value += threadIdx.x < 32 ? sums[j][threadIdx.x] : 0;
  return value;
}
"""

BIAS = Source("""
KERNEL bias_elementwise(INDEX n, T* x, const T* bias, T* out, INDEX columns) {
  THREAD_INDEX(i);
  x[i] += bias[i % columns];
  STATEMENTS
  out[i] = RESULT;
}
""")

DENSE = Source(
    SPLIT_SUM
    + """
// x is the output before the activation. Without an activation, out is x.
KERNEL dense(INDEX n, const T* input, const T* w, const T* bias, T* x, T* out, INDEX n_outputs, INDEX size,
             INDEX columns) {
  SPLIT_INDEX(i, j);
  const INDEX column = i % columns;
  const T* row = input + (long long)(i / columns) * size;
  T sum = 0;
  if (i < n_outputs)
    for (INDEX k = j; k < size; k += 8) sum += row[k] * w[(long long)k * columns + column];
  sum = split_sum(sum);
  if (j || i >= n_outputs) return;
  x[i] = HAS_BIAS ? sum + bias[column] : sum;
  STATEMENTS
  out[i] = RESULT;
}
"""
)

WEIGHT_GRADIENT = Source(
    SPLIT_SUM
    + """
// The gradient of the bias is that of one more row of weights, whose inputs are 1.
KERNEL dense_weight_gradient(INDEX n, const T* input, const T* dz, T* dw, T* db, INDEX n_outputs, INDEX rows,
                             INDEX size, INDEX columns) {
  SPLIT_INDEX(i, j);
  const INDEX k = i / columns, column = i % columns;
  T sum = 0;
  if (i < n_outputs)
    for (INDEX row = j; row < rows; row += 8)
      sum += (k < size ? input[(long long)row * size + k] : (T)1) * dz[(long long)row * columns + column];
  sum = split_sum(sum);
  if (j || i >= n_outputs) return;
  (k < size ? dw[i] : db[column]) = sum;
}
"""
)

INPUT_GRADIENT = Source(
    SPLIT_SUM
    + """
// x is what the derivative of the layer below is computed from.
KERNEL dense_input_gradient(INDEX n, const T* dz, const T* w, const T* x, T* dx, INDEX n_outputs, INDEX size,
                            INDEX columns) {
  SPLIT_INDEX(i, j);
  const T* row = dz + (long long)(i / size) * columns;
  const T* weights = w + (long long)(i % size) * columns;
  T sum = 0;
  if (i < n_outputs)
    for (INDEX c = j; c < columns; c += 8) sum += row[c] * weights[c];
  sum = split_sum(sum);
  if (j || i >= n_outputs) return;
  STATEMENTS
  dx[i] = sum * RESULT;
}
"""
)

IDENTITY: dict[str, int | str] = {"STATEMENTS": "", "RESULT": "x[i]"}
ONE: dict[str, int | str] = {"STATEMENTS": "", "RESULT": "(T)1"}


class _Shape(NamedTuple):
    """Sizes of a product: rows of the batch, and rows and columns of the weights."""

    rows: int
    size: int
    columns: int

    @classmethod
    def of(cls, x: Array, w: Array) -> "_Shape":
        return cls(x.size // max(1, w.shape[0]), *w.shape)

    @property
    def is_small(self) -> bool:
        return 0 < self.rows <= MAX_ROWS and 0 < self.rows * self.size * self.columns <= MAX_MULTIPLICATIONS


def dense(
    x: Array, w: Array, b: Array | None, fn: ElementwiseFn | None
) -> tuple[Array, Callable[[Array], Array] | None]:
    """See :func:`portanet.kernels.dense`."""
    floats = {x.dtype, w.dtype} | ({b.dtype} if b is not None else set())
    is_supported = len(floats) == 1 and x.dtype.name in ("float32", "float64")
    traced = TracedFn.trace(fn, x.dtype) if fn is not None and is_supported else None
    shape = _Shape.of(x, w)
    fused = shape.is_small or (b is not None and traced is not None)
    if not is_supported or (fn is not None and traced is None) or not fused:
        result: tuple[Array, Callable[[Array], Array] | None] = kernels.dense.portable(x, w, b, fn)
        return result
    check_shape("x", x, (*x.shape[:-1], shape.size))
    if b is not None:
        check_shape("b", b, w.shape[1:])
    if shape.is_small:
        z, y = _small_dense(x, w, b, shape, traced)
    else:
        z = matmul(x, w)
        y = cupy.empty_like(z)
        assert traced is not None
        BIAS.launch("bias_elementwise", z.size, z.dtype, z, b, y, shape.columns, **traced.output)
    return y, None if traced is None else _pullback(traced, z, y)


def _small_dense(x: Array, w: Array, b: Array | None, shape: _Shape, traced: TracedFn | None) -> tuple[Array, Array]:
    """Return the outputs before and after the activation."""
    z = cupy.empty((*x.shape[:-1], shape.columns), dtype=x.dtype)
    y, w = z if traced is None else cupy.empty_like(z), contiguous(w)
    arguments = contiguous(x), w, w if b is None else b, z, y, z.size, shape.size, shape.columns
    macros = {"HAS_BIAS": int(b is not None), **(IDENTITY if traced is None else traced.output)}
    DENSE.launch("dense", _n_threads(z.size), z.dtype, *arguments, **macros)
    return z, y


def _pullback(traced: TracedFn, z: Array, y: Array) -> TracedPullback:
    saved = y if traced.from_output else z
    return TracedPullback(traced.derivative, saved, saved)


def dense_gradient(  # noqa: PLR0917
    dz: Array,
    x: Array,
    w: Array,
    dw: Array | None,
    db: Array | None,
    need_dx: bool,
    below: Callable[[Array], Array] | None,
) -> Array | None:
    """See :func:`portanet.kernels.dense_gradient`."""
    shape = _Shape.of(x, w)
    one_dtype = dz.dtype == x.dtype == w.dtype and x.dtype.name in ("float32", "float64")
    in_place = all(array is None or array.flags.c_contiguous for array in (dw, db))
    if not (shape.is_small and one_dtype and in_place):
        result: Array | None = kernels.dense_gradient.portable(dz, x, w, dw, db, need_dx, below)
        return result
    check_shape("x", x, (*x.shape[:-1], shape.size))
    check_shape("dz", dz, (*x.shape[:-1], shape.columns))
    dz, sizes = contiguous(dz), (shape.size, shape.columns)
    if dw is not None:
        check_shape("dw", dw, w.shape)
        if db is not None:
            check_shape("db", db, w.shape[1:])
        n = dw.size + (0 if db is None else db.size)
        sums = dw, dw if db is None else db
        arguments = contiguous(x), dz, *sums, n, shape.rows, *sizes
        WEIGHT_GRADIENT.launch("dense_weight_gradient", _n_threads(n), x.dtype, *arguments)
    if not need_dx:
        return None
    dx = cupy.empty(x.shape, dtype=x.dtype)
    traced = below if isinstance(below, TracedPullback) and below.saved.shape == x.shape else None
    saved, macros = (dx, ONE) if traced is None else (traced.saved, traced.derivative)
    arrays = dz, contiguous(w), saved, dx
    INPUT_GRADIENT.launch("dense_input_gradient", _n_threads(dx.size), x.dtype, *arrays, dx.size, *sizes, **macros)
    return dx if below is None or traced is not None else below(dx)


def _n_threads(n_outputs: int) -> int:
    """Return the number of threads that compute some outputs, 32 in each block."""
    return -(-n_outputs // 32) * THREADS_PER_BLOCK
