"""Counter-based random numbers, the same bits on every backend: Philox4x64-10 in int64 arithmetic."""

import math
from collections.abc import Callable
from typing import Any

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

# Philox uses unsigned 64-bit words, but the widest integer that every backend supports is int64. Its sums and products
# wrap to the same 64 bits; constants above 2**63 are written as negative numbers.
_M0, _M1 = 0xD2E7470EE14C6C93 - 2**64, 0xCA5A826395121157 - 2**64
_W0, _W1 = 0x9E3779B97F4A7C15 - 2**64, 0xBB67AE8584CAA73B - 2**64
_LOW = 0xFFFFFFFF


@kernel
def random_bits(stream: Array, n: int, first: int = 0) -> Array:
    """
    Uniform 16-bit integers that depend only on a key, a counter and their position.

    The bits are those of ``numpy.random.Philox(key=[key, 0], counter=[0, counter, 0, 0])`` [1]_. Each key and counter
    gives an independent stream of 2**64 blocks. Nothing is copied to the host.

    Parameters
    ----------
    stream : array of int64, shape (2,)
        Key and counter, not negative. Not checked: a check would stall the GPU.
    n : int
        Number of integers, not negative.
    first : int
        Position of the first of them: ``random_bits(stream, n, first)`` is ``random_bits(stream, first + n)[first:]``.

    Returns
    -------
    array of int, shape (n,)
        Values in ``[0, 65536)``; the integer type depends on the backend. Each 64-bit word of Philox gives four, the
        lowest bits first.

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.

    Examples
    --------
    >>> random_bits(np.asarray([7, 0]), 3).tolist()
    [64420, 10729, 13496]
    """
    xp = namespace(stream)
    begin, skipped = divmod(first, 16)
    index = xp.arange(begin + 1, begin - (-(skipped + n) // 16) + 1, dtype=xp.int64, device=stream.device)
    # Slices, because NumPy warns when a 0-d integer wraps, but not when a 1-d array does.
    key, counter = stream[:1], stream[1:]
    zero = xp.zeros_like(key)
    words = philox4x64((index, counter, zero, zero), (key, zero))
    integers = [(word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    return xp.reshape(xp.stack(integers, axis=1), (-1,))[skipped : skipped + n]


@kernel
def advance_stream(stream: Array) -> None:
    """
    Add 1 to the counter of a stream, in place.

    Parameters
    ----------
    stream : array of int64, shape (2,)
        Key and counter.

    Examples
    --------
    >>> stream = np.asarray([7, 0])
    >>> advance_stream(stream), stream
    (None, array([7, 1]))
    """
    stream[1:] += 1


@kernel
def dropout(x: Array, bits: Array, keep: int) -> tuple[Array, Callable[[Array], Array]]:
    """
    Return ``y = x m``, and the function ``dy -> dx = dy m``; the mask m is ``65536 / keep`` or 0.

    Parameters
    ----------
    x : array of float
    bits : array of int, of a shape that broadcasts to that of x
        Values in ``[0, 65536)``, such as :func:`random_bits`.
    keep : int
        In [1, 65536]: an element is kept where its bits are below, that is with probability ``keep / 65536``.

    Examples
    --------
    >>> y, pullback = dropout(np.asarray([1.0, 2.0]), np.asarray([7, 40000]), 32768)
    >>> y, pullback(np.asarray([1.0, 1.0]))
    (array([2., 0.]), array([2., 0.]))
    """
    # Not "bits < keep": 65536 is no uint16, and NumPy before 2.2 may crash where it compares such numbers.
    mask = namespace(x).astype(bits <= keep - 1, x.dtype) * (65536 / keep)
    return x * mask, lambda dy: dy * mask


@kernel
def normal(stream: Array, n: int, dtype: Any) -> Array:
    """
    Normal numbers of mean 0 and variance 1, by the Box-Muller method [1]_ from :func:`random_bits`.

    Parameters
    ----------
    stream : array of int64, shape (2,)
        Key and counter.
    n : int
        Number of normal numbers.
    dtype : dtype
        A floating type of the backend.

    Returns
    -------
    array, shape (n,)
        Equal on all backends up to the rounding of their logarithm and cosine.

    References
    ----------
    .. [1] G. E. P. Box, M. E. Muller, A note on the generation of random normal deviates, Annals of Mathematical
       Statistics 29, 1958.

    Examples
    --------
    >>> normal(np.asarray([7, 0]), 2, np.float64).round(4).tolist()
    [0.0506, 0.1783]
    """
    xp, pairs = namespace(stream), -(-n // 2)
    bits = xp.astype(xp.reshape(random_bits(stream, 4 * pairs), (4, pairs)), dtype)
    # Two uniform numbers of 32 bits each, shifted by half a step to avoid log(0).
    u1, u2 = ((bits[i, ...] * 65536.0 + bits[i + 1, ...] + 0.5) * 2.0**-32 for i in (0, 2))
    radius, angle = xp.sqrt(-2.0 * xp.log(u1)), 2 * math.pi * u2
    return xp.concat([radius * xp.cos(angle), radius * xp.sin(angle)])[:n]


def philox4x64(counter: tuple[Array, ...], key: tuple[Array, ...]) -> tuple[Array, ...]:
    """
    Ten rounds of Philox4x64: encrypt four counter words with two key words.

    A word is an array of int64 of at least one dimension; shapes broadcast.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        c0, c1, c2, c3 = _high_product(c2, _M1) ^ c1 ^ k0, c2 * _M1, _high_product(c0, _M0) ^ c3 ^ k1, c0 * _M0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


def _high_product(a: Array, b: int) -> Array:
    """Upper 64 bits of the 128-bit unsigned product, by long multiplication of 32-bit halves."""
    a0, a1, b0, b1 = a & _LOW, _high(a), b & _LOW, _high(b)
    middle = a1 * b0 + _high(a0 * b0)
    carry = a0 * b1 + (middle & _LOW)
    return a1 * b1 + _high(middle) + _high(carry)


def _high(word: Array) -> Array:
    """Upper half of a word as a non-negative number; the shift alone would copy the sign bit."""
    return (word >> 32) & _LOW
