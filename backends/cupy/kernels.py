"""Kernels of ``portanet.kernels`` for CuPy, each in one launch or a few; no sum depends on the order of threads."""

from typing import Any

import cupy

from portanet.backends.cupy.source import TYPES, Source, contiguous
from portanet.typing import Array

UPDATES = Source("""
// After a step more: the rate, and eps, for sums of which the means are a share. The divisors are exact in float32 also
// for a beta near 1.
KERNEL begin_adam(INDEX n, T* step, const T* rate, T* scaled, T beta1, T beta2, T eps) {
  EACH(i);
  const T t = *step + 1;
  *step = t;
  const T share1 = beta1 > 0 ? (1 - beta1) / -expm1(t * log(beta1)) : 1;
  const T root = sqrt(beta2 > 0 ? (1 - beta2) / -expm1(t * log(beta2)) : 1);
  scaled[0] = *rate * share1 / root;
  scaled[1] = eps / root;
}

KERNEL adam(INDEX n, T* data, const T* grad, T* gradients, T* squares, const T* scaled, T beta1, T beta2) {
  EACH(i);
  const T g = grad[i], sum = beta1 * gradients[i] + g, square = beta2 * squares[i] + g * g;
  gradients[i] = sum;
  squares[i] = square;
  data[i] -= scaled[0] * sum / (sqrt(square) + scaled[1]);
}

KERNEL sgd(INDEX n, T* data, const T* grad, const T* rate) {
  EACH(i);
  data[i] -= *rate * grad[i];
}

KERNEL momentum(INDEX n, T* data, const T* grad, T* velocity, const T* rate, T keep, INDEX nesterov) {
  EACH(i);
  const T v = keep * velocity[i] + grad[i];
  velocity[i] = v;
  data[i] -= *rate * (nesterov ? grad[i] + keep * v : v);
}

// Of a mean or velocity that is not kept, the address is that of the square, and nothing is read or written there.
KERNEL rmsprop(INDEX n, T* data, const T* grad, T* square, T* mean, T* velocity, const T* rate, T take, T keep, T eps) {
  EACH(i);
  const T g = grad[i], s = square[i] + take * (g * g - square[i]);
  T variance = s;
  if (mean != square) {
    const T m = mean[i] + take * (g - mean[i]);
    mean[i] = m;
    variance = s - m * m < 0 ? 0 : s - m * m;  // rounding may take it below zero
  }
  T change = g / (sqrt(variance) + eps);
  if (velocity != square) {
    change += keep * velocity[i];
    velocity[i] = change;
  }
  square[i] = s;
  data[i] -= *rate * change;
}
""")

SUMS = Source("""
// Row p of the sums adds up the rows p, p + parts, p + 2 parts ... : neighbours in a warp read neighbours in memory.
KERNEL part_sums(INDEX n, const T* rows, T* sums, INDEX size) {
  EACH(i);
  T sum = 0;
  for (long long j = i; j < size; j += n) sum += rows[j];
  sums[i] = sum;
}

// A warp a column: of few rows.
KERNEL column_sums(INDEX n, const T* rows, T* sums, INDEX size) {
  EACH(i);
  const INDEX columns = n / 32;
  T sum = 0;
  for (long long j = i / 32 + (long long)(i % 32) * columns; j < size; j += 32 * (long long)columns) sum += rows[j];
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  if (i % 32 == 0) sums[i / 32] = sum;
}
""")

FEW_ROWS = 2048
"""Rows that the 32 threads of a warp add up, 64 each."""

# Each row is a warp's: 32 threads go along it, and what they found is joined by exchange, always in the same order.
ROWS = """
#define ROW(x) (x + (long long)(i / 32) * classes)

__device__ T row_maximum(const T* x, INDEX classes) {
  T largest = x[0];
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) largest = x[c] > largest || x[c] != x[c] ? x[c] : largest;
  for (int d = 16; d; d /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, largest, d);
    largest = other > largest || other != other ? other : largest;
  }
  return largest;
}

__device__ T row_sum_of_exp(const T* x, INDEX classes, T shift) {
  T sum = 0;
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) sum += exp(x[c] - shift);
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  return sum;
}
"""

SOFTMAX = Source(
    ROWS
    + """
KERNEL log_softmax(INDEX n, const T* scores, T* log_p, INDEX classes) {
  EACH(i);
  const T* x = ROW(scores);
  T* y = ROW(log_p);
  const T largest = row_maximum(x, classes), log_sum = log(row_sum_of_exp(x, classes, largest));
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) y[c] = x[c] - largest - log_sum;
}
"""
)

CROSS_ENTROPY = Source(
    ROWS
    + """
KERNEL sparse_softmax_cross_entropy(INDEX n, const T* scores, const VALUE* labels, T* terms, T* gradient, INDEX classes) {
  EACH(i);
  const T* x = ROW(scores);
  T* dx = ROW(gradient);
  const T largest = row_maximum(x, classes), sum = row_sum_of_exp(x, classes, largest);
  const long long label = labels[i / 32];
  const bool known = label >= 0 && label < classes;
  for (INDEX c = threadIdx.x % 32; c < classes; c += 32) dx[c] = exp(x[c] - largest) / sum * known - (c == label);
  if (threadIdx.x % 32 == 0) terms[i / 32] = known ? log(sum) - (x[label] - largest) : 0;
}
"""
)

# Ten rounds of Philox4x64, as portanet/kernels/random.py has them; a thread enciphers one block, which is 16 integers.
RANDOM = Source("""
typedef unsigned long long Word;

KERNEL random_bits(INDEX n, const Word* stream, int* bits, INDEX count) {
  EACH(i);
  const Word m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
  Word c0 = (Word)i + 1, c1 = stream[1], c2 = 0, c3 = 0, k0 = stream[0], k1 = 0;
  for (int round = 0; round < 10; ++round) {
    const Word high0 = __umul64hi(c0, m0), high1 = __umul64hi(c2, m1), low0 = c0 * m0, low1 = c2 * m1;
    c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
    k0 += 0x9E3779B97F4A7C15ull, k1 += 0xBB67AE8584CAA73Bull;
  }
  const Word words[] = {c0, c1, c2, c3};
  for (int j = 0; j < 16; ++j) {
    const long long place = 16 * (long long)i + j;
    if (place < count) bits[place] = words[j / 4] >> 16 * (j % 4) & 0xffff;
  }
}
""")


def adam(  # noqa: PLR0917
    data: Array,
    grad: Array,
    gradients: Array,
    squares: Array,
    step: Array,
    rate: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Single numbers first, then one pass over the arrays."""
    scaled, keep = cupy.empty(2, data.dtype), tuple(map(float, betas))
    UPDATES.launch("begin_adam", 1, data.dtype, step, rate, scaled, *keep, float(eps))
    UPDATES.launch("adam", data.size, data.dtype, data, contiguous(grad), gradients, squares, scaled, *keep)


def sgd(  # noqa: PLR0917
    data: Array, grad: Array, velocity: Array | None, rate: Array, momentum: float, nesterov: bool
) -> None:
    """One pass over the arrays."""
    grad = contiguous(grad)
    if velocity is None:
        UPDATES.launch("sgd", data.size, data.dtype, data, grad, rate)
    else:
        numbers = float(momentum), int(nesterov)
        UPDATES.launch("momentum", data.size, data.dtype, data, grad, velocity, rate, *numbers)


def rmsprop(  # noqa: PLR0917
    data: Array,
    grad: Array,
    square: Array,
    mean: Array | None,
    velocity: Array | None,
    rate: Array,
    rho: float,
    momentum: float,
    eps: float,
) -> None:
    """One pass over the arrays."""
    states = square, square if mean is None else mean, square if velocity is None else velocity
    numbers = 1 - float(rho), float(momentum), float(eps)
    UPDATES.launch("rmsprop", data.size, data.dtype, data, contiguous(grad), *states, rate, *numbers)


def bias_grad(x: Array, out: Array | None = None) -> Array:
    """Many rows by parts of 64, and their sums likewise, until few are left: long sums stay exact, and fill the GPU."""
    rows, out = contiguous(x).reshape(-1, x.shape[-1]), cupy.empty(x.shape[-1:], x.dtype) if out is None else out
    while len(rows) > FEW_ROWS:
        sums = cupy.empty((-(-len(rows) // 64), x.shape[-1]), dtype=x.dtype)
        SUMS.launch("part_sums", sums.size, x.dtype, rows, sums, rows.size)
        rows = sums
    SUMS.launch("column_sums", 32 * out.size, x.dtype, rows, out, rows.size)
    return out


def log_softmax(x: Array) -> Array:
    """See :func:`portanet.kernels.log_softmax`."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    SOFTMAX.launch("log_softmax", _row_threads(x), x.dtype, x, y, x.shape[-1])
    return y


def sparse_softmax_cross_entropy(scores: Array, labels: Array) -> tuple[Array, Array]:
    """Terms and gradient from one look at the scores."""
    scores, labels = contiguous(scores), contiguous(labels)
    terms, gradient = cupy.empty(labels.shape, dtype=scores.dtype), cupy.empty_like(scores)
    arguments = scores, labels, terms, gradient, scores.shape[-1]
    kind = TYPES[labels.dtype.name]
    CROSS_ENTROPY.launch("sparse_softmax_cross_entropy", _row_threads(scores), scores.dtype, *arguments, VALUE=kind)
    return terms, gradient


def _row_threads(x: Array) -> int:
    rows: int = x.size // max(1, x.shape[-1])
    return 32 * rows


def random_bits(stream: Array, n: int) -> Array:
    """See :func:`portanet.kernels.random_bits`."""
    bits: Any = cupy.empty((n,), dtype="int32")
    RANDOM.launch("random_bits", -(-n // 16), bits.dtype, stream, bits, n)
    return bits
