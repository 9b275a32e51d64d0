"""The compiled kernels behind the names of :mod:`portanet.kernels`; what they do not do falls to plain NumPy."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from portanet.backends.numpy import conv as numpy_conv
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.bias import bias_add, bias_grad
from portanet.backends.numpy.core.dense import dense, dense_gradient, linear, matmul_into
from portanet.backends.numpy.core.elementwise import elementwise
from portanet.backends.numpy.core.memory import empty
from portanet.backends.numpy.core.pooling import max_pool, max_pool_gradient, sum_pool, sum_pool_gradient
from portanet.backends.numpy.core.random import random_bits
from portanet.backends.numpy.core.softmax import log_softmax, sigmoid, sparse_softmax_cross_entropy
from portanet.backends.numpy.core.updates import adam, rmsprop, sgd
from portanet.backends.numpy.layout import batch_first, batch_last
from portanet.kernels.windows import Window
from portanet.typing import Shape

MIN_IMAGES = 8
"""Fewest images that are last in memory, so that vectors hold images; with fewer, they hold channels."""

MAX_WINDOW = 1024
"""Most positions of a window."""


def conv(x: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    if not _takes(x, w, window):
        return numpy_conv.conv(x, w, window, groups)
    last = len(x) >= MIN_IMAGES
    y = _empty(len(x), window.output_shape, w.shape[-1], x.dtype, last)
    compiled.conv(_ordered(x, last), np.ascontiguousarray(w), y, last, *_steps(window), groups)
    return batch_first(y) if last else y


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv_input_gradient`."""
    if not _takes(dy, w, window):
        return numpy_conv.conv_input_gradient(dy, w, window, groups)
    last = len(dy) >= MIN_IMAGES
    dx = _empty(len(dy), window.input_shape, w.shape[-2] * groups, dy.dtype, last)
    compiled.conv_input_gradient(_ordered(dy, last), np.ascontiguousarray(w), dx, last, *_steps(window), groups)
    return batch_first(dx) if last else dx


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if not _takes(x, dy, window):
        return numpy_conv.conv_weight_gradient(x, dy, window, groups)
    last = len(x) >= MIN_IMAGES
    dw = np.empty((*window.size, x.shape[-1] // groups, dy.shape[-1]), x.dtype)
    compiled.conv_weight_gradient(_ordered(x, last), _ordered(dy, last), dw, last, *_steps(window), groups)
    return dw


def _takes(x: np.ndarray, other: np.ndarray, window: Window) -> bool:
    """Whether the core computes a convolution of x."""
    return (
        x.dtype == other.dtype and x.dtype.char in "fd" and window.n_axes <= 3 and math.prod(window.size) <= MAX_WINDOW
    )


def _empty(n: int, spatial: Shape, channels: int, dtype: np.dtype, last: bool) -> np.ndarray:
    """Return an array of n images as the core takes it."""
    return empty((*spatial, channels, n) if last else (n, *spatial, channels), dtype)


def _ordered(x: np.ndarray, last: bool) -> np.ndarray:
    """Return (N, *spatial, C) as a contiguous array, with N as the last axis if wanted."""
    return np.ascontiguousarray(batch_last(x) if last else x)


def _steps(window: Window) -> tuple[Any, ...]:
    return window.stride, window.dilation, tuple(low for low, _ in window.pads)


_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    adam,
    bias_add,
    bias_grad,
    conv,
    conv_input_gradient,
    conv_weight_gradient,
    dense,
    dense_gradient,
    elementwise,
    linear,
    log_softmax,
    matmul_into,
    max_pool,
    max_pool_gradient,
    random_bits,
    rmsprop,
    sgd,
    sigmoid,
    sparse_softmax_cross_entropy,
    sum_pool,
    sum_pool_gradient,
)

OVERRIDES: Mapping[str, Callable[..., Any]] = {function.__name__: function for function in _FUNCTIONS}
