"""Random bits by the compiled kernels."""

import numpy as np

from portanet.backends.numpy.core import compiled


def random_bits(stream: np.ndarray, n: int) -> np.ndarray:
    """See :func:`portanet.kernels.random_bits`; four integers from each word, as in plain NumPy."""
    key, counter = stream.tolist()
    words = np.empty(-(-n // 4), np.int64)
    compiled.random_bits(key, counter, words)
    return words.view(np.uint16)[:n]
