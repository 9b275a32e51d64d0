"""Random bits and dropout for CuPy."""

from collections.abc import Callable
from typing import Any

import cupy

from portanet import kernels
from portanet.backends.cupy.source import TYPES, Source, check_shape, contiguous
from portanet.typing import Array

# Ten rounds of Philox4x64, as in portanet/kernels/random.py; each thread encrypts one block, which gives 16 integers.
RANDOM = Source("""
typedef unsigned long long Word;

KERNEL random_bits(INDEX n, const Word* stream, int* bits, INDEX count, INDEX begin, INDEX skipped) {
  THREAD_INDEX(i);
  const Word m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
  Word c0 = (Word)begin + i + 1, c1 = stream[1], c2 = 0, c3 = 0, k0 = stream[0], k1 = 0;
  for (int round = 0; round < 10; ++round) {
    const Word high0 = __umul64hi(c0, m0), high1 = __umul64hi(c2, m1), low0 = c0 * m0, low1 = c2 * m1;
    c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
    k0 += 0x9E3779B97F4A7C15ull, k1 += 0xBB67AE8584CAA73Bull;
  }
  const Word words[] = {c0, c1, c2, c3};
  for (int j = 0; j < 16; ++j) {
    const long long position = 16 * (long long)i + j - skipped;
    if (position >= 0 && position < count) bits[position] = words[j / 4] >> 16 * (j % 4) & 0xffff;
  }
}

KERNEL advance_stream(INDEX n, long long* stream) {
  THREAD_INDEX(i);
  stream[1] += 1;
}
""")

DROPOUT = Source("""
KERNEL dropout(INDEX n, const T* x, const VALUE* bits, T* y, INDEX keep, T scale) {
  THREAD_INDEX(i);
  y[i] = x[i] * (bits[i] < keep ? scale : 0);
}
""")


def random_bits(stream: Array, n: int, first: int = 0) -> Array:
    """See :func:`portanet.kernels.random_bits`."""
    bits: Any = cupy.empty((n,), dtype="int32")
    begin, skipped = divmod(first, 16)
    RANDOM.launch("random_bits", -(-(skipped + n) // 16), bits.dtype, stream, bits, n, begin, skipped)
    return bits


def advance_stream(stream: Array) -> None:
    """See :func:`portanet.kernels.advance_stream`."""
    RANDOM.launch("advance_stream", 1, stream.dtype, stream)


def dropout(x: Array, bits: Array, keep: int) -> tuple[Array, Callable[[Array], Array]]:
    """Compute the mask with each product, so that it is not stored."""
    if bits.shape != x.shape or x.dtype.name not in ("float32", "float64"):
        result: tuple[Array, Callable[[Array], Array]] = kernels.dropout.portable(x, bits, keep)
        return result
    bits = contiguous(bits)

    def masked(values: Array) -> Array:
        check_shape("dy", values, bits.shape)
        out = cupy.empty(bits.shape, dtype=x.dtype)
        arguments = contiguous(values.astype(x.dtype, copy=False)), bits, out, keep, 65536 / keep
        DROPOUT.launch("dropout", out.size, x.dtype, *arguments, VALUE=TYPES[bits.dtype.name])
        return out

    return masked(x), masked
