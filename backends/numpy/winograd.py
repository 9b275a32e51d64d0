"""
Winograd's minimal filtering along the first spatial axis.

With m outputs and r taps, a tile takes m + r - 1 multiplications instead of m r: 8 instead of 20 for 4 outputs of 5
taps. In float32, the rounding errors are up to 11 times those of the portable form.

Without it, a training step takes 1.63 times as long on 003-lenet and 1.14 times on 004-cnn (``python -m bench
mechanisms``, two threads).
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from portanet.backends.numpy import windows
from portanet.kernels.windows import Window
from portanet.typing import Array

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""Interpolation points of the Toom-Cook algorithm, in addition to infinity."""


@lru_cache
def transforms(outputs: int, taps: int, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Matrices A, G and B of ``y = Aᵀ (G w · B x)``, a correlation of x with w by ``outputs + taps - 1`` multiplications.

    This is the transposed Toom-Cook algorithm [1]_: it evaluates polynomials at points, one of which is infinity.

    Parameters
    ----------
    outputs, taps : int
        Lengths of y and w; x has length ``outputs + taps - 1``.
    dtype : dtype

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


class Winograd:
    """
    Convolution in tiles of ``outputs`` output rows, each from ``tile_size`` input rows; batch last.

    Parameters
    ----------
    window : Window
        Of stride and dilation 1 along the first axis. The attribute ``window`` has more padding where the last tile
        needs it.
    """

    def __init__(self, window: Window):
        taps, (low, high), *pads = window.size[0], *window.pads
        self.outputs = 4 if taps <= 5 else 2
        self.tile_size = self.outputs + taps - 1
        self.n_tiles = -(-window.output_shape[0] // self.outputs)
        missing = -window.output_shape[0] % self.outputs  # rows of the last tile that are dropped
        self.output_shape = window.output_shape
        self.window = replace(window, pads=((low, high + missing), *pads)) if missing else window
        self.inner = window.size[1:], window.stride[1:], window.dilation[1:]  # the axes after the first

    def multiply(self, padded: np.ndarray, w: np.ndarray) -> np.ndarray:
        """See :meth:`portanet.backends.numpy.conv.Direct.multiply`."""
        n, n_out = padded.shape[-1], w.shape[-1]
        a, g, _ = self._transforms(w)
        weights = np.matmul(g, w.reshape(len(w), -1)).reshape(self.tile_size, -1, n_out).swapaxes(-1, -2)
        weights = np.expand_dims(np.ascontiguousarray(weights), tuple(range(1, len(self.output_shape) + 1)))
        y = np.empty((self.n_tiles * self.outputs, *self.output_shape[1:], n_out, n), padded.dtype)
        copies = math.prod(self.inner[0]) if len(self.inner[0]) > 1 else 0  # windows along one axis are views
        for tiles in self._chunks(padded, copies * padded[0].size + y[0].size):
            values = self._transform_rows(padded[self._input_rows(tiles)])
            columns = windows.sliding_windows(values, *self.inner)
            columns = columns.reshape(*values.shape[:2], *self.output_shape[1:], -1, n)
            products = np.matmul(weights, columns).reshape(*values.shape[:2], -1)
            np.matmul(a.T, products.swapaxes(0, 1), out=self._tiles(y)[tiles])
        return y[: self.output_shape[0]]

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> Array:
        """See :meth:`portanet.backends.numpy.conv.Direct.correlate`."""
        (n_in, n), n_out = padded.shape[-2:], dy.shape[-2]
        a, g, _ = self._transforms(dy)
        total = np.zeros((self.tile_size, *self.inner[0], n_in, n_out), dy.dtype)
        n_products = math.prod((*self.inner[0], *self.output_shape[1:-1], n_in, n_out))
        for tiles in self._chunks(padded, 2 * dy[0].size + n_products):
            values = self._transform_rows(np.ascontiguousarray(padded[self._input_rows(tiles)].swapaxes(-1, -2)))
            n_tiles = values.shape[1]
            rows = np.zeros((n_tiles * self.outputs, *self.output_shape[1:], n, n_out), dy.dtype)
            gradients = dy[tiles.start * self.outputs : tiles.stop * self.outputs]
            rows[: len(gradients)] = gradients.swapaxes(-1, -2)
            transformed = np.empty((self.tile_size, n_tiles, *rows.shape[1:]), rows.dtype)
            np.matmul(a, self._tiles(rows), out=self._by_tile(transformed))
            if not self.inner[0]:  # one product covers all tiles
                values, transformed = (v.reshape(self.tile_size, 1, -1, v.shape[-1]) for v in (values, transformed))
            total += np.add.reduce(windows.correlate(values, transformed, *self.inner), axis=1)
        return np.matmul(g.T, total.reshape(self.tile_size, -1))

    def _chunks(self, padded: np.ndarray, extra: int) -> Iterator[slice]:
        """Chunks of tiles; ``extra`` is the number of elements that each transformed row needs in addition."""
        return windows.chunks(self.n_tiles, self.tile_size * (padded[0].size + extra) * padded.itemsize)

    def _input_rows(self, tiles: slice) -> slice:
        """Rows of the padded input that some tiles cover."""
        return slice(tiles.start * self.outputs, (tiles.stop - 1) * self.outputs + self.tile_size)

    def _transform_rows(self, rows: np.ndarray) -> np.ndarray:
        """Multiply the tiles of contiguous rows, (length, ...), by B: shape (tile_size, n_tiles, ...)."""
        n_tiles, row = (len(rows) - self.tile_size) // self.outputs + 1, rows.strides[0]
        shape, strides = (n_tiles, self.tile_size, rows[0].size), (self.outputs * row, row, rows.itemsize)
        tiles = np.ndarray(shape, rows.dtype, rows, strides=strides)
        values = np.empty((self.tile_size, n_tiles, *rows.shape[1:]), rows.dtype)
        np.matmul(self._transforms(rows)[2], tiles, out=self._by_tile(values))
        return values

    @staticmethod
    def _by_tile(values: np.ndarray) -> np.ndarray:
        """View of (tile_size, n_tiles, ...) as (n_tiles, tile_size, elements)."""
        return values.reshape(*values.shape[:2], -1).swapaxes(0, 1)

    def _tiles(self, y: np.ndarray) -> np.ndarray:
        """View of output rows, (n_tiles outputs, ...), as (n_tiles, outputs, elements)."""
        return y.reshape(len(y) // self.outputs, self.outputs, -1)

    def _transforms(self, like: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return transforms(self.outputs, self.window.size[0], like.dtype)
