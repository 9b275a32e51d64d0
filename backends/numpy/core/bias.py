"""Biases by the compiled kernels."""

import numpy as np

from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled, memory
from portanet.backends.numpy.layout import batch_last, is_batch_last, is_batch_last_slice
from portanet.typing import Array


def bias_add(x: np.ndarray, bias: np.ndarray) -> None:
    """See :func:`portanet.kernels.bias_add`."""
    if (x.ndim > 2 or x.size >= memory.MIN_ELEMENTS) and memory.is_supported(x, bias) and bias.flags.c_contiguous:
        if x.flags.c_contiguous:
            compiled.bias_add(x, bias, False)
            return
        if is_batch_last(x):
            compiled.bias_add(batch_last(x), bias, True)
            return
    plain.bias_add(x, bias)


def bias_grad(dy: np.ndarray, out: np.ndarray | None = None) -> Array:
    """See :func:`portanet.kernels.bias_grad`."""
    if not _takes(dy) or (out is not None and not (memory.is_supported(dy, out) and out.flags.c_contiguous)):
        return plain.bias_grad(dy, out)
    last = is_batch_last_slice(dy)
    sums = np.empty(dy.shape[-1:], dy.dtype) if out is None else out
    compiled.bias_grad(np.ascontiguousarray(batch_last(dy) if last else dy), sums, last)
    return sums


def _takes(x: np.ndarray) -> bool:
    """Whether the core adds to, or sums, this array."""
    return x.size >= memory.MIN_ELEMENTS and memory.is_supported(x)
