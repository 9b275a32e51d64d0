"""Winograd's way to convolve: along the first axis of space, fewer products for several outputs together."""

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


class Winograd:
    """
    Along the first axis, few products for several outputs together: 8 for 4 outputs of 5 taps, where Direct takes 20.

    In float32 the rounding errors are up to eleven times those of the portable form.
    """

    def __init__(self, window: Window):
        taps, (low, high), *pads = window.size[0], *window.pads
        self.step = 4 if taps <= 5 else 2
        self.products = self.step + taps - 1
        self.n_tiles = -(-window.output_shape[0] // self.step)
        missing = -window.output_shape[0] % self.step  # what is computed beyond the last place is dropped
        self.places = window.output_shape
        self.window = replace(window, pads=((low, high + missing), *pads)) if missing else window
        self.others = window.size[1:], window.stride[1:], window.dilation[1:]

    def multiply(self, padded: np.ndarray, w: np.ndarray) -> np.ndarray:
        """See :meth:`portanet.backends.numpy.conv.Direct.multiply`."""
        n, n_out = padded.shape[-1], w.shape[-1]
        a, g, _ = self._transforms(w)
        weights = np.matmul(g, w.reshape(len(w), -1)).reshape(self.products, *(1 for _ in self.places), -1, n_out)
        weights = np.ascontiguousarray(weights.swapaxes(-1, -2))
        y = np.empty((self.n_tiles * self.step, *self.places[1:], n_out, n), padded.dtype)
        copies = math.prod(self.others[0]) if len(self.others[0]) > 1 else 0  # of values: a view, along one axis
        for tiles in self._chunks(padded, copies * padded[0].size + y[0].size):
            values = self._values(padded[self._rows(tiles)])
            seen = windows.seen(values, *self.others).reshape(*values.shape[:2], *self.places[1:], -1, n)
            made = np.matmul(weights, seen).reshape(*values.shape[:2], -1)
            np.matmul(a.T, made.swapaxes(0, 1), out=self._tiled(y)[tiles])
        return y[: self.places[0]]

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> Array:
        """See :meth:`portanet.backends.numpy.conv.Direct.correlate`."""
        (n_in, n), n_out = padded.shape[-2:], dy.shape[-2]
        a, g, _ = self._transforms(dy)
        total = np.zeros((self.products, *self.others[0], n_in, n_out), dy.dtype)
        products = math.prod((*self.others[0], *self.places[1:-1], n_in, n_out))
        for tiles in self._chunks(padded, 2 * dy[0].size + products):
            values = self._values(np.ascontiguousarray(padded[self._rows(tiles)].swapaxes(-1, -2)))
            n_tiles = values.shape[1]
            rows = np.zeros((n_tiles * self.step, *self.places[1:], n, n_out), dy.dtype)
            made = dy[tiles.start * self.step : tiles.stop * self.step]
            rows[: len(made)] = made.swapaxes(-1, -2)
            spread = np.empty((self.products, n_tiles, *rows.shape[1:]), rows.dtype)
            np.matmul(a, self._tiled(rows), out=self._flat(spread))
            if not self.others[0]:  # one product goes over all tiles
                values, spread = (each.reshape(self.products, 1, -1, each.shape[-1]) for each in (values, spread))
            total += np.add.reduce(windows.correlated(values, spread, *self.others), axis=1)
        return np.matmul(g.T, total.reshape(self.products, -1))

    def _chunks(self, padded: np.ndarray, beside: int) -> Iterator[slice]:
        """Some tiles after the other; ``beside`` is how many numbers each of a tile's values takes beside itself."""
        return windows.chunks(self.n_tiles, self.products * (padded[0].size + beside) * padded.itemsize)

    def _rows(self, tiles: slice) -> slice:
        """Where tiles begin and end: each reaches over as many rows as there are products."""
        return slice(tiles.start * self.step, (tiles.stop - 1) * self.step + self.products)

    def _values(self, rows: np.ndarray) -> np.ndarray:
        """Values (products, tiles, *others) of contiguous (length, *others) at the points."""
        n_tiles, row = (len(rows) - self.products) // self.step + 1, rows.strides[0]
        shape, strides = (n_tiles, self.products, rows[0].size), (self.step * row, row, rows.itemsize)
        tiles = np.ndarray(shape, rows.dtype, rows, strides=strides)
        values = np.empty((self.products, n_tiles, *rows.shape[1:]), rows.dtype)
        np.matmul(self._transforms(rows)[2], tiles, out=self._flat(values))
        return values

    @staticmethod
    def _flat(values: np.ndarray) -> np.ndarray:
        """View (tiles, products, numbers) of (products, tiles, ...)."""
        return values.reshape(*values.shape[:2], -1).swapaxes(0, 1)

    def _tiled(self, y: np.ndarray) -> np.ndarray:
        """View (tiles, step, numbers) of (tiles step, ...)."""
        return y.reshape(len(y) // self.step, self.step, -1)

    def _transforms(self, like: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return transforms(self.step, self.window.size[0], like.dtype)
