"""
Convolution for NumPy: matrix products of columns, a few images at a time, and fewer of them where Winograd's way pays.

Columns hold what the window sees at each place; their product with the weights gives the outputs there. Chunks of them
stay in the cache of a core: to keep those of a whole batch would cost more than to gather them again for the gradient.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from operator import mul
from typing import Any

import numpy as np

from portanet import kernels
from portanet.kernels.windows import Window
from portanet.typing import Array

CACHE = 2**20
"""Bytes of columns to hold at once: they stay in the L2 cache of a core."""

LARGE = 2**21
"""Products from which on Winograd's way pays: its transforms take some 20 µs more, however small they are."""


def conv(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    method = choose(window, w.shape[-2], _is_large(x, w, window))
    weights, padded = method.weights(w), np.ascontiguousarray(method.window.pad(x))
    y = np.empty((len(x), *window.places, w.shape[-1]), x.dtype)
    for seen, made in method.chunks(len(x), padded, weights.nbytes):
        method.multiply(padded[seen], weights, y[made])
    return y


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    shape = (*window.size, x.shape[-1], dy.shape[-1])
    method = choose(window, x.shape[-1], _is_large(x, dy, window))
    padded, total = np.ascontiguousarray(method.window.pad(x)), None
    for seen, made in method.chunks(len(x), padded, math.prod(shape) * x.itemsize):
        part = method.correlate(padded[seen], dy[made])
        total = part if total is None else np.add(total, part, out=total)
    return np.zeros(shape, x.dtype) if total is None else method.weight_gradient(total).reshape(shape)


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """A convolution of dy with the kernel turned round, where the stride is 1; else the portable form."""
    turned = window.turned
    if turned is None:
        dx: np.ndarray = kernels.conv_input_gradient.portable(dy, w, window)
        return dx
    spatial = tuple(range(w.ndim - 2))
    return conv(dy, np.ascontiguousarray(np.matrix_transpose(np.flip(w, spatial))), turned)


def _is_large(x: np.ndarray, out: np.ndarray, window: Window) -> bool:
    """Whether a convolution of x, to as many channels as ``out`` has, takes enough products to save some."""
    products: int = x.size * out.shape[-1] * math.prod(window.size)
    return products >= LARGE


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def choose(window: Window, n_in: int, large: bool) -> "Direct":
    """The faster way for a window on so many channels."""
    taps = window.size[0]
    fits = window.stride[0] == window.dilation[0] == 1 and 3 <= taps <= 7 and n_in >= 4 and window.places[0] >= 4
    return Winograd(window) if large and fits else Direct(window)


def columns(x: np.ndarray, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> np.ndarray:
    """Matrix with a row for each place of a window in x, (N, *space, C), which holds what it sees there."""
    n, *space, channels = x.shape
    if not size:
        return x.reshape(-1, channels)
    places = Window.fit(tuple(space), size, stride=stride, dilation=dilation, padding="valid").places
    n_rows, n_columns = n * math.prod(places), math.prod(size) * channels
    batch, *steps, channel = x.strides
    between, within = map(mul, steps, stride), map(mul, steps, dilation)
    if channels == 1:  # a cell of the window at a time: rows of the image are longer runs than rows of the window
        seen = _strided(x, (*size, n, *places), (*within, batch, *between))
        return seen.copy().reshape(n_columns, n_rows).T
    seen = _strided(x, (n, *places, *size, channels), (batch, *between, *within, channel))
    return seen.copy().reshape(n_rows, n_columns)


def _strided(x: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """View of a contiguous array whose numbers may overlap; NumPy's as_strided takes 6 µs for it."""
    return np.ndarray(shape, x.dtype, x, strides=strides)


class Direct:
    """Columns of whole windows, and one matrix product."""

    def __init__(self, window: Window):
        self.window = window
        self.step, self.step_width = 1, math.prod(window.size)

    def chunks(
        self, n: int, padded: np.ndarray, weights: int
    ) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """
        Slices of the padded input and of the output, over images and along the first axis.

        Their columns have the size of the cache, or that of the weights in bytes: a product goes over these once more.
        """
        (length, *others), channels = self.window.places, padded.shape[-1]
        bytes_each = self.step_width * math.prod(others) * channels * padded.itemsize  # of a step along the first axis
        steps, fitting = length // self.step, max(1, max(CACHE, weights) // max(1, bytes_each))
        images, places = max(1, fitting // steps), self.step * min(steps, fitting)
        stride, reach = self.window.stride[0], self.window.dilation[0] * (self.window.size[0] - 1) + 1
        for i in range(0, n, images):
            for j in range(0, length, places):
                end = min(j + places, length)
                seen = slice(j * stride, None if end == length else (end - 1) * stride + reach)  # keeps it contiguous
                yield (slice(i, i + images), seen), (slice(i, i + images), slice(j, end))

    def weights(self, w: np.ndarray) -> Array:
        """Matrix, or matrices, to multiply columns by."""
        return w.reshape(-1, w.shape[-1])

    def weight_gradient(self, total: np.ndarray) -> Array:
        """Gradient of the weights from the sum of what :meth:`correlate` gave."""
        return total

    def multiply(self, padded: np.ndarray, weights: np.ndarray, y: np.ndarray) -> None:
        """Fill y."""
        np.matmul(self._columns(padded), weights, out=y.reshape(-1, y.shape[-1]))

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> Array:
        """Gradient of the matrix."""
        return np.matmul(self._columns(padded).T, dy.reshape(-1, dy.shape[-1]))

    def _columns(self, padded: np.ndarray) -> Array:
        return columns(padded, self.window.size, self.window.stride, self.window.dilation)


POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


@lru_cache
def transforms(outputs: int, taps: int, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Matrices A, G and B of ``y = Aᵀ (G w · B x)``, a correlation of x with w that takes outputs + taps - 1 products.

    That is the Toom-Cook algorithm turned round [1]_: x and y are polynomials' values at points, one of them infinity.

    References
    ----------
    .. [1] A. Lavin, S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016.

    Examples
    --------
    >>> a, g, b = transforms(2, 3, np.dtype("float64"))
    >>> a.T @ (g @ [1, 2, 3] * (b @ [1, 0, 0, 1]))
    array([1., 3.])
    """
    points = np.asarray(POINTS[: outputs + taps - 2])
    others = [np.delete(points, i) for i in range(len(points))]
    scale = np.asarray([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    a, g = (np.vander([*points, 0.0], n, increasing=True) for n in (outputs, taps))
    g[:-1] /= scale[:, None]
    a[-1], g[-1] = np.eye(outputs)[-1], np.eye(taps)[-1]  # at infinity only the highest power counts
    b = np.asarray([[*np.poly(rest)[::-1], 0.0] for rest in others] + [np.poly(points)[::-1]])
    return a.astype(dtype), g.astype(dtype), b.astype(dtype)


class Winograd(Direct):
    """
    Along the first axis, few products for several outputs together: 8 for 4 outputs of 5 taps, where Direct takes 20.

    Along the others, columns as in Direct. In float32 the rounding errors are three to eight times those of Direct.
    """

    def __init__(self, window: Window):
        taps, (low, high), *pads = window.size[0], *window.pads
        self.step = 4 if taps <= 5 else 2
        self.products = self.step + taps - 1
        self.step_width = self.products * math.prod(window.size[1:])
        missing = -window.places[0] % self.step  # what is computed beyond the last place is dropped
        self.window = replace(window, pads=((low, high + missing), *pads)) if missing else window

    def weights(self, w: np.ndarray) -> Array:
        _, g, _ = self._transforms(w)
        return np.matmul(g, w.reshape(len(w), -1)).reshape(self.products, -1, w.shape[-1])

    def weight_gradient(self, total: np.ndarray) -> Array:
        _, g, _ = self._transforms(total)
        return np.matmul(g.T, total.reshape(self.products, -1))

    def multiply(self, padded: np.ndarray, weights: np.ndarray, y: np.ndarray) -> None:
        sums = np.matmul(self._columns(padded), weights).reshape(self.products, len(y), -1, y[0, 0].size)
        a, _, _ = self._transforms(y)
        for tiles, outputs in self._tiles(y):
            np.matmul(a[:, : outputs.shape[2]].T, sums[:, :, tiles].transpose(1, 2, 0, 3), out=outputs)

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> Array:
        n_tiles = -(-dy.shape[1] // self.step)
        spread = np.empty((self.products, len(dy), n_tiles, dy[0, 0].size), dy.dtype)
        a, _, _ = self._transforms(dy)
        for tiles, outputs in self._tiles(dy):
            np.matmul(a[:, : outputs.shape[2]], outputs, out=spread[:, :, tiles].transpose(1, 2, 0, 3))
        return np.matmul(self._columns(padded).transpose(0, 2, 1), spread.reshape(self.products, -1, dy.shape[-1]))

    def _columns(self, padded: np.ndarray) -> Array:
        (n, length, *space), window = padded.shape, self.window
        n_tiles = (length - window.size[0] + 1) // self.step
        rows = padded.reshape(n, length, -1)
        image, row, number = rows.strides
        overlapping = (n, n_tiles, self.products, rows.shape[-1])
        tiles = _strided(rows, overlapping, (image, self.step * row, row, number))
        values = np.empty((self.products, n, n_tiles, rows.shape[-1]), rows.dtype)
        np.matmul(self._transforms(rows)[2], tiles, out=values.transpose(1, 2, 0, 3))
        others = columns(values.reshape(-1, *space), window.size[1:], window.stride[1:], window.dilation[1:])
        return others.reshape(self.products, -1, others.shape[-1])

    def _tiles(self, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Views (N, tiles, outputs, numbers) of y, whole tiles and one that is cut short."""
        rows, whole = y.reshape(len(y), y.shape[1], -1), y.shape[1] // self.step
        end = whole * self.step
        if whole:
            yield slice(whole), rows[:, :end].reshape(len(y), whole, self.step, -1)
        if end < y.shape[1]:
            yield slice(whole, whole + 1), rows[:, None, end:]

    def _transforms(self, like: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return transforms(self.step, self.window.size[0], like.dtype)
