"""Random bits, and dropout, by the compiled kernels."""

from collections.abc import Callable

import numpy as np

from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import is_supported
from portanet.backends.numpy.layout import in_layout_of, is_dense, memory_order
from portanet.typing import Array


def random_bits(stream: np.ndarray, n: int, first: int = 0) -> np.ndarray:
    """See :func:`portanet.kernels.random_bits`; four integers from each word, as in plain NumPy."""
    (key, counter), (begin, skipped) = stream.tolist(), divmod(first, 16)
    words = np.empty(-(-(skipped + n) // 4), np.int64)
    compiled.random_bits(key, counter, begin, words)
    return words.view(np.uint16)[skipped : skipped + n]


def dropout(x: np.ndarray, bits: np.ndarray, keep: int) -> tuple[Array, Callable[[Array], Array]]:
    """See :func:`portanet.kernels.dropout`; the pullback keeps the bits, not a mask."""
    taken = is_supported(x) and 0 < keep <= 1 << 16 and bits.dtype == np.uint16 and bits.shape == x.shape
    if not taken or not is_dense(x):
        return plain.dropout(x, bits, keep)
    bits, dtype = in_layout_of(bits, x), x.dtype

    def drop(values: np.ndarray) -> np.ndarray:
        values = in_layout_of(np.asarray(values, dtype), bits)
        kept = np.empty_like(values)
        compiled.dropout(memory_order(values), memory_order(bits), keep, memory_order(kept))
        return kept

    return drop(x), drop
