"""Kernels of ``portanet.kernels`` for CuPy, in few launches. Sums are deterministic: they use no atomics."""

from collections.abc import Callable
from typing import Any

import cupy

from portanet import kernels
from portanet.backends.cupy.source import BLOCK_SUM, THREADS_PER_BLOCK, TYPES, Source, check_shape, contiguous
from portanet.kernels.elementwise import scaled_by
from portanet.typing import Array

UPDATES = Source("""
// Increment the step, and scale lr and eps by the bias corrections, which are exact in float32 also for a beta near 1.
KERNEL adam_scalars(INDEX n, T* step, const T* lr, T* scalars, T beta1, T beta2, T eps) {
  THREAD_INDEX(i);
  const T t = *step + 1;
  *step = t;
  const T factor1 = beta1 > 0 ? (1 - beta1) / -expm1(t * log(beta1)) : 1;
  const T root = sqrt(beta2 > 0 ? (1 - beta2) / -expm1(t * log(beta2)) : 1);
  scalars[0] = *lr * factor1 / root;
  scalars[1] = eps / root;
}

KERNEL adam(INDEX n, T* data, const T* grad, T* grad_sum, T* square_sum, const T* scalars, T beta1, T beta2) {
  THREAD_INDEX(i);
  const T g = grad[i], sum = beta1 * grad_sum[i] + g, square = beta2 * square_sum[i] + g * g;
  grad_sum[i] = sum;
  square_sum[i] = square;
  data[i] -= scalars[0] * sum / (sqrt(square) + scalars[1]);
}

KERNEL sgd(INDEX n, T* data, const T* grad, const T* lr) {
  THREAD_INDEX(i);
  data[i] -= *lr * grad[i];
}

KERNEL sgd_momentum(INDEX n, T* data, const T* grad, T* velocity, const T* lr, T momentum, INDEX nesterov) {
  THREAD_INDEX(i);
  const T v = momentum * velocity[i] + grad[i];
  velocity[i] = v;
  data[i] -= *lr * (nesterov ? grad[i] + momentum * v : v);
}

// An optional array that is absent, mean or velocity, is passed as the address of square and not used.
KERNEL rmsprop(INDEX n, T* data, const T* grad, T* square, T* mean, T* velocity, const T* lr, T weight, T momentum,
               T eps) {
  THREAD_INDEX(i);
  const T g = grad[i], s = square[i] + weight * (g * g - square[i]);
  T variance = s;
  if (mean != square) {
    const T m = mean[i] + weight * (g - mean[i]);
    mean[i] = m;
    variance = s - m * m < 0 ? 0 : s - m * m;  // rounding may make it negative
  }
  T change = g / (sqrt(variance) + eps);
  if (velocity != square) {
    change += momentum * velocity[i];
    velocity[i] = change;
  }
  square[i] = s;
  data[i] -= *lr * change;
}
""")

SUMS = Source("""
// Row p of the m rows of partial sums is the sum of the rows p, p + m, p + 2 m ...: memory access is coalesced.
KERNEL partial_sums(INDEX n, const T* rows, T* sums, INDEX size) {
  THREAD_INDEX(i);
  T sum = 0;
  for (long long j = i; j < size; j += n) sum += rows[j];
  sums[i] = sum;
}

// One warp for each column, for at most MAX_ROWS_PER_WARP rows.
KERNEL column_sums(INDEX n, const T* rows, T* sums, INDEX size, INDEX add) {
  THREAD_INDEX(i);
  const INDEX columns = n / 32;
  T sum = 0;
  for (long long j = i / 32 + (long long)(i % 32) * columns; j < size; j += 32 * (long long)columns) sum += rows[j];
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  if (i % 32 == 0) sums[i / 32] = add ? sums[i / 32] + sum : sum;
}
""")

ROWS_PER_THREAD = 64
"""Rows of each partial sum: long sums stay accurate, and many threads are busy."""

MAX_ROWS_PER_WARP = 32 * ROWS_PER_THREAD
"""Maximum rows that one warp sums; more are reduced to partial sums first."""

# One warp for each row. Its threads combine their results by shuffles, always in the same order.
ROW_FUNCTIONS = """
#define ROW(x) (x + (long long)(i / 32) * classes)

__device__ T row_maximum(const T* x, INDEX classes) {
  T maximum = x[0];
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) maximum = x[c] > maximum || x[c] != x[c] ? x[c] : maximum;
  for (int d = 16; d; d /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, maximum, d);
    maximum = other > maximum || other != other ? other : maximum;
  }
  return maximum;
}

__device__ T row_sum_of_exp(const T* x, INDEX classes, T shift) {
  T sum = 0;
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) sum += exp(x[c] - shift);
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  return sum;
}
"""

SOFTMAX = Source(
    ROW_FUNCTIONS
    + """
KERNEL log_softmax(INDEX n, const T* logits, T* log_p, INDEX classes) {
  THREAD_INDEX(i);
  const T* x = ROW(logits);
  T* y = ROW(log_p);
  const T maximum = row_maximum(x, classes), log_sum = log(row_sum_of_exp(x, classes, maximum));
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) y[c] = x[c] - maximum - log_sum;
}
"""
)

MEAN_CROSS_ENTROPY = Source(
    BLOCK_SUM
    + """
// One block of 256 threads, each for some of the rows. It is the whole loss of a small batch: no other launch sums it.
KERNEL mean_cross_entropy(INDEX n, const T* logits, const VALUE* labels, T* mean, T* gradient, INDEX rows,
                          INDEX classes) {
  THREAD_INDEX(i);
  T loss = 0;
  for (INDEX row = i; row < rows; row += n) {
    const T* x = logits + (long long)row * classes;
    T* dx = gradient + (long long)row * classes;
    T maximum = x[0], sum = 0;
    for (INDEX c = 0; c < classes; ++c) maximum = x[c] > maximum || x[c] != x[c] ? x[c] : maximum;
    for (INDEX c = 0; c < classes; ++c) sum += exp(x[c] - maximum);
    const long long label = labels[row];
    const bool in_range = label >= 0 && label < classes;
    for (INDEX c = 0; c < classes; ++c) dx[c] = (exp(x[c] - maximum) / sum * in_range - (c == label)) / rows;
    if (in_range) loss += log(sum) - (x[label] - maximum);
  }
  loss = block_sum(loss);
  if (i == 0) *mean = loss / rows;
}
"""
)

ACCURACY = Source(
    BLOCK_SUM
    + """
// One block of 256 threads, each for some of the rows.
KERNEL accuracy(INDEX n, const T* scores, const VALUE* labels, T* fraction, INDEX rows, INDEX classes) {
  THREAD_INDEX(i);
  T hits = 0;
  for (INDEX row = i; row < rows; row += n) {
    const T* x = scores + (long long)row * classes;
    INDEX largest = 0;
    bool has_nan = false;
    for (INDEX c = 0; c < classes; ++c) has_nan |= x[c] != x[c], largest = x[c] > x[largest] ? c : largest;
    hits += !has_nan && (long long)labels[row] == largest;
  }
  hits = block_sum(hits);
  if (i == 0) *fraction = hits / rows;
}
"""
)

MAX_ROWS_PER_BLOCK, MAX_NUMBERS_PER_BLOCK, MAX_CLASSES_PER_THREAD = 1024, 2**14, 64
"""Maximum size of a batch whose loss one block computes. It is not tuned on a GPU."""

CROSS_ENTROPY = Source(
    ROW_FUNCTIONS
    + """
KERNEL sparse_softmax_cross_entropy(INDEX n, const T* logits, const VALUE* labels, T* losses, T* gradient,
                                    INDEX classes) {
  THREAD_INDEX(i);
  const T* x = ROW(logits);
  T* dx = ROW(gradient);
  const T maximum = row_maximum(x, classes), sum = row_sum_of_exp(x, classes, maximum);
  const long long label = labels[i / 32];
  const bool in_range = label >= 0 && label < classes;
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) dx[c] = exp(x[c] - maximum) / sum * in_range - (c == label);
  if (threadIdx.x % 32 == 0) losses[i / 32] = in_range ? log(sum) - (x[label] - maximum) : 0;
}
"""
)


def adam(  # noqa: PLR0917
    data: Array,
    grad: Array,
    grad_sum: Array,
    square_sum: Array,
    step: Array,
    lr: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Compute the scalars, then update the arrays in one pass."""
    scalars, betas = cupy.empty(2, data.dtype), (float(betas[0]), float(betas[1]))
    UPDATES.launch("adam_scalars", 1, data.dtype, step, lr, scalars, *betas, float(eps))
    UPDATES.launch("adam", data.size, data.dtype, data, contiguous(grad), grad_sum, square_sum, scalars, *betas)


def sgd(  # noqa: PLR0917
    data: Array, grad: Array, velocity: Array | None, lr: Array, momentum: float, nesterov: bool
) -> None:
    """Update the arrays in one pass."""
    grad = contiguous(grad)
    if velocity is None:
        UPDATES.launch("sgd", data.size, data.dtype, data, grad, lr)
    else:
        scalars = float(momentum), int(nesterov)
        UPDATES.launch("sgd_momentum", data.size, data.dtype, data, grad, velocity, lr, *scalars)


def rmsprop(  # noqa: PLR0917
    data: Array,
    grad: Array,
    square: Array,
    mean: Array | None,
    velocity: Array | None,
    lr: Array,
    alpha: float,
    momentum: float,
    eps: float,
) -> None:
    """Update the arrays in one pass."""
    state = square, square if mean is None else mean, square if velocity is None else velocity
    scalars = 1 - float(alpha), float(momentum), float(eps)
    UPDATES.launch("rmsprop", data.size, data.dtype, data, contiguous(grad), *state, lr, *scalars)


def bias_grad(dy: Array, out: Array | None = None, *, add: bool = False) -> Array:
    """Reduce to partial sums until one warp can sum each column; overwrite ``out``, or add to it."""
    rows, out = contiguous(dy).reshape(-1, dy.shape[-1]), cupy.empty(dy.shape[-1:], dy.dtype) if out is None else out
    check_shape("out", out, dy.shape[-1:])
    while len(rows) > MAX_ROWS_PER_WARP:
        sums = cupy.empty((-(-len(rows) // ROWS_PER_THREAD), dy.shape[-1]), dtype=dy.dtype)
        SUMS.launch("partial_sums", sums.size, dy.dtype, rows, sums, rows.size)
        rows = sums
    SUMS.launch("column_sums", 32 * out.size, dy.dtype, rows, out, rows.size, int(add))
    return out


def log_softmax(x: Array) -> Array:
    """See :func:`portanet.kernels.log_softmax`."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    SOFTMAX.launch("log_softmax", _threads_for_rows(x), x.dtype, x, y, x.shape[-1])
    return y


def mean_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Callable[[float | Array], Array]]:
    """Compute loss and gradient of a small batch in one kernel."""
    check_shape("labels", labels, logits.shape[:-1])
    if not _fits_a_block(logits):
        result: tuple[Array, Any] = kernels.mean_cross_entropy.portable(logits, labels)
        return result
    logits, labels = contiguous(logits), contiguous(labels)
    mean, gradient = cupy.empty((), dtype=logits.dtype), cupy.empty_like(logits)
    arguments = logits, labels, mean, gradient, labels.size, logits.shape[-1]
    label_type = TYPES[labels.dtype.name]
    MEAN_CROSS_ENTROPY.launch("mean_cross_entropy", THREADS_PER_BLOCK, logits.dtype, *arguments, VALUE=label_type)
    return mean, scaled_by(gradient)


def sparse_softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Compute losses and gradient in one kernel."""
    check_shape("labels", labels, logits.shape[:-1])
    logits, labels = contiguous(logits), contiguous(labels)
    losses, gradient = cupy.empty(labels.shape, dtype=logits.dtype), cupy.empty_like(logits)
    arguments = logits, labels, losses, gradient, logits.shape[-1]
    threads, label_type = _threads_for_rows(logits), TYPES[labels.dtype.name]
    CROSS_ENTROPY.launch("sparse_softmax_cross_entropy", threads, logits.dtype, *arguments, VALUE=label_type)
    return losses, gradient


def accuracy(scores: Array, labels: Array) -> Array:
    """Compute the fraction of a small batch in one kernel."""
    check_shape("labels", labels, scores.shape[:-1])
    if not _fits_a_block(scores) or scores.dtype != "float32":
        result: Array = kernels.accuracy.portable(scores, labels)
        return result
    fraction = cupy.empty((), dtype=scores.dtype)
    arguments = contiguous(scores), contiguous(labels), fraction, labels.size, scores.shape[-1]
    ACCURACY.launch("accuracy", THREADS_PER_BLOCK, scores.dtype, *arguments, VALUE=TYPES[labels.dtype.name])
    return fraction


def _fits_a_block(scores: Array) -> bool:
    """Whether one block computes the mean over the rows."""
    classes = scores.shape[-1]
    most = min(MAX_ROWS_PER_BLOCK * classes, MAX_NUMBERS_PER_BLOCK)
    return bool(0 < scores.size <= most and classes <= MAX_CLASSES_PER_THREAD)


def _threads_for_rows(x: Array) -> int:
    """One warp for each row."""
    rows: int = x.size // max(1, x.shape[-1])
    return 32 * rows
