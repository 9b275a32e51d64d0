"""Kernels of ``portanet.kernels`` tuned for NumPy; tests hold each against the portable form of the same name."""

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portanet import kernels
from portanet.kernels.windows import Window

CACHE = 2**20
"""Bytes of columns to hold at once: they stay in the L2 cache of a core."""


class _Generators(threading.local):
    """One generator a thread: to construct one draws entropy and takes 8 µs, to set its state takes 1."""

    def __init__(self) -> None:
        self.philox = np.random.Philox()


_generators = _Generators()


def random_bits(stream: np.ndarray, n: int) -> np.ndarray:
    """NumPy's own Philox, four integers a word: 1 ms for a million, where the portable form takes 17."""
    key, counter = stream.tolist()
    state: Any = {  # the stubs want arrays in it; tuples are taken too, and faster
        "bit_generator": "Philox",
        "state": {"counter": (0, counter, 0, 0), "key": (key, 0)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # nothing is left in the buffer
        "has_uint32": 0,
        "uinteger": 0,
    }
    _generators.philox.state = state
    return _generators.philox.random_raw(-(-n // 4)).view(np.uint16)[:n]


def _chunks(n: int, window: Window, channels: int, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """Images, and places along their first axis, whose columns fit into the cache: several images, or a part of one."""
    length = window.places[0]
    bytes_each = math.prod(window.places) * math.prod(window.size) * channels * itemsize
    images = max(1, CACHE // max(1, bytes_each))
    places = length if bytes_each <= CACHE else max(1, CACHE * length // bytes_each)
    for i in range(0, n, images):
        for j in range(0, length, places):
            yield slice(i, min(i + images, n)), slice(j, min(j + places, length))


def _columns(padded: np.ndarray, window: Window, along: slice) -> np.ndarray:
    """Matrix with a row for each place, of a slice of those along the first axis, which holds what the window sees."""
    channels, places = padded.shape[-1], (along.stop - along.start, *window.places[1:])
    n_rows, n_columns = len(padded) * math.prod(places), math.prod(window.size) * channels
    if channels == 1:  # a cell of the window at a time: rows of the image are longer runs than rows of the window
        cells = np.empty((n_columns, len(padded), *places, 1), padded.dtype)
        for i, (_, here) in enumerate(window.cells):
            cells[i] = padded[here][:, along]
        return cells.reshape(n_columns, n_rows).T
    batch, *steps, channel = padded.strides
    between = (step * s for step, s in zip(steps, window.stride, strict=True))
    within = (step * d for step, d in zip(steps, window.dilation, strict=True))
    first = padded[:, along.start * window.stride[0] :]
    shape = (len(padded), *places, *window.size, channels)
    seen = as_strided(first, shape, (batch, *between, *within, channel), writeable=False)
    return np.ascontiguousarray(seen).reshape(n_rows, n_columns)


def conv(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """One matrix product for the columns of a few images at a time."""
    padded, rows = window.pad(x), w.reshape(-1, w.shape[-1])
    y = np.empty((len(x), *window.places, w.shape[-1]), x.dtype)
    for here in _chunks(len(x), window, x.shape[-1], x.itemsize):
        np.matmul(_columns(padded[here[0]], window, here[1]), rows, out=y[here].reshape(-1, w.shape[-1]))
    return y


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window) -> np.ndarray:
    """The columns again: to keep those of a batch would hold the memory that chunks save."""
    padded, n_out = window.pad(x), dy.shape[-1]
    dw = np.zeros((math.prod(window.size) * x.shape[-1], n_out), x.dtype)
    for here in _chunks(len(x), window, x.shape[-1], x.itemsize):
        dw += np.matmul(_columns(padded[here[0]], window, here[1]).T, dy[here].reshape(-1, n_out))
    return dw.reshape(*window.size, x.shape[-1], n_out)


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """A convolution of dy with the kernel turned round, where the stride is 1; else the portable form."""
    turned = window.turned()
    if turned is None:
        dx: np.ndarray = kernels.conv_input_gradient.portable(dy, w, window)
        return dx
    spatial = tuple(range(w.ndim - 2))
    return conv(dy, np.ascontiguousarray(np.matrix_transpose(np.flip(w, spatial))), turned)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Four passes in place, where the portable form takes several; exp may become infinity, and 1 / y 0."""
    y = np.empty_like(x)
    np.negative(x, out=y)
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += 1.0
    np.reciprocal(y, out=y)
    return y
