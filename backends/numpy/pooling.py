"""
Pooling for NumPy, an axis at a time: along the first axis, runs of a whole row are long, and what is left is smaller.

Maxima of windows that overlap, or see padding, take the portable forms.
"""

import itertools
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.layout import channelwise
from portanet.kernels.windows import Window

_BITS: dict[int, np.dtype[Any]] = {4: np.dtype("int32"), 8: np.dtype("int64")}


@channelwise
def max_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """Maxima along each axis of those along the axes before."""
    y: np.ndarray
    if not window.non_overlapping:
        y = kernels.max_pool.portable(x, window)
        return y
    y = x
    for axis in range(window.n_axes):
        y = _largest(_cells(y, window, axis))[-1]
    return y


@channelwise
def max_pool_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """Deal the gradient out along each axis, from the last one back."""
    if not window.non_overlapping or dy.dtype != x.dtype or dy.itemsize not in _BITS:
        dx: np.ndarray = kernels.max_pool_gradient.portable(dy, x, y, window)
        return dx
    stages = [x]
    for axis in range(window.n_axes - 1):
        stages.append(_largest(_cells(stages[-1], window, axis))[-1])
    for axis, stage in reversed(list(enumerate(stages))):
        covered = window.output_shape[axis] * window.size[axis] == window.input_shape[axis]
        dx = np.empty_like(stage) if covered else np.zeros_like(stage)
        _deal(dy, _cells(stage, window, axis), _cells(dx, window, axis))
        dy = dx
    return dy


@channelwise
def sum_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """Sums along each axis of those along the axes before."""
    y: np.ndarray = window.pad(x)
    for axis in range(window.n_axes):
        first, *others = _cells(y, window, axis)
        y = first + others[0] if others else first
        for cell in others[1:]:
            y += cell
    return y


@channelwise
def sum_pool_gradient(dy: np.ndarray, window: Window) -> np.ndarray:
    """Copies of the gradient where windows tile all of x; else sums along each axis, from the last one back."""
    if window.non_overlapping and all(
        n * k == m for n, k, m in zip(window.output_shape, window.size, window.input_shape, strict=True)
    ):
        axes = range(2, 2 * window.n_axes + 1, 2)
        pairs = itertools.chain.from_iterable(zip(window.output_shape, window.size, strict=True))
        copies = np.empty((len(dy), *pairs, dy.shape[-1]), dy.dtype)
        copies[...] = np.expand_dims(dy, tuple(axes))
        return copies.reshape(len(dy), *window.input_shape, dy.shape[-1])
    for axis in reversed(range(window.n_axes)):
        shape = list(dy.shape)
        shape[axis + 1] = window.padded_shape[axis]
        dx = np.zeros(shape, dy.dtype)
        for cell in _cells(dx, window, axis):
            np.add(cell, dy, out=cell)
        dy = dx
    return dy[window.interior]


def _cells(x: np.ndarray, window: Window, axis: int) -> list[np.ndarray]:
    """Each cell of the window along one axis of space, in all places."""
    step, span = window.stride[axis], (window.output_shape[axis] - 1) * window.stride[axis] + 1
    before: tuple[Any, ...] = (slice(None),) * (axis + 1)
    starts = range(0, window.size[axis] * window.dilation[axis], window.dilation[axis])
    return [x[(*before, slice(start, start + span, step))] for start in starts]


def _largest(cells: list[np.ndarray]) -> list[np.ndarray]:
    """Largest of the first cell, of the first two, and so on."""
    largest = cells[:1]
    for cell in cells[1:]:
        largest.append(np.maximum(largest[-1], cell))
    return largest


def _deal(dy: np.ndarray, cells: list[np.ndarray], gradients: list[np.ndarray]) -> None:
    """Give dy to the first of the largest cells, and zero to the others; equal infinities, and 0 and -0, to any."""
    bits = _BITS[dy.itemsize]
    largest = _largest(cells[:-1])
    for i in range(len(cells) - 1, 0, -1):
        # The sign of the difference, as a mask of all bits: NumPy has no faster selection.
        below = np.subtract(largest[i - 1], cells[i]).view(bits)
        below >>= 8 * dy.itemsize - 1
        np.bitwise_and(dy.view(bits), below, out=gradients[i].view(bits))
        rest = gradients[0] if i == 1 else np.empty_like(dy)
        np.subtract(dy, gradients[i], out=rest)
        dy = rest
    if len(cells) == 1:
        gradients[0][...] = dy
