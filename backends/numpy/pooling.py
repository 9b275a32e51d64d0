"""
Pooling for NumPy, one spatial axis after another: the first axis has long contiguous rows, and leaves less to do.

The gradient of max pooling with overlapping windows or padding uses the portable form. Without ``max_pool_gradient``, a
training step takes 1.44 times as long on 001-conv1d-net1 and 1.10 times on 003-lenet (``python -m bench mechanisms``,
two threads, before the compiled kernels).
"""

import itertools
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.layout import channelwise
from portanet.kernels.windows import Window

_INTEGERS: dict[int, np.dtype[Any]] = {4: np.dtype("int32"), 8: np.dtype("int64")}  # by the size of a float, in bytes


@channelwise
def max_pool_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """Undo the pooling of each axis, the last one first."""
    if not window.non_overlapping or dy.dtype != x.dtype or dy.itemsize not in _INTEGERS:
        dx: np.ndarray = kernels.max_pool_gradient.portable(dy, x, y, window)
        return dx
    stages = [x]
    for axis in range(window.n_axes - 1):
        stages.append(_running_maxima(_values_along(stages[-1], window, axis))[-1])
    for axis, stage in reversed(list(enumerate(stages))):
        covered = window.output_shape[axis] * window.size[axis] == window.input_shape[axis]
        dx = np.empty_like(stage) if covered else np.zeros_like(stage)
        _scatter_to_maxima(dy, _values_along(stage, window, axis), _values_along(dx, window, axis))
        dy = dx
    return dy


@channelwise
def sum_pool(x: np.ndarray, window: Window, factor: float = 1.0) -> np.ndarray:
    """See :func:`portanet.kernels.sum_pool`."""
    y: np.ndarray = window.pad(x)
    for axis in range(window.n_axes):
        first, *others = _values_along(y, window, axis)
        y = first + others[0] if others else first
        for value in others[1:]:
            y += value
    return y if factor == 1.0 else y * factor


@channelwise
def sum_pool_gradient(dy: np.ndarray, window: Window, factor: float = 1.0) -> np.ndarray:
    """Repeat dy if the windows tile x without gaps; else sum along each axis, the last one first."""
    if factor != 1.0:
        dy = dy * factor
    if window.non_overlapping and all(
        n * k == m for n, k, m in zip(window.output_shape, window.size, window.input_shape, strict=True)
    ):
        axes = range(2, 2 * window.n_axes + 1, 2)
        pairs = itertools.chain.from_iterable(zip(window.output_shape, window.size, strict=True))
        repeated = np.empty((len(dy), *pairs, dy.shape[-1]), dy.dtype)
        repeated[...] = np.expand_dims(dy, tuple(axes))
        return repeated.reshape(len(dy), *window.input_shape, dy.shape[-1])
    for axis in reversed(range(window.n_axes)):
        shape = list(dy.shape)
        shape[axis + 1] = window.padded_shape[axis]
        dx = np.zeros(shape, dy.dtype)
        for value in _values_along(dx, window, axis):
            np.add(value, dy, out=value)
        dy = dx
    return dy[window.interior]


def _values_along(x: np.ndarray, window: Window, axis: int) -> list[np.ndarray]:
    """View x, for each offset of the window along one spatial axis, at that offset from all output positions."""
    step, span = window.stride[axis], (window.output_shape[axis] - 1) * window.stride[axis] + 1
    before: tuple[Any, ...] = (slice(None),) * (axis + 1)
    starts = range(0, window.size[axis] * window.dilation[axis], window.dilation[axis])
    return [x[(*before, slice(start, start + span, step))] for start in starts]


def _running_maxima(values: list[np.ndarray]) -> list[np.ndarray]:
    """Maximum of the first array, of the first two, and so on."""
    maxima = values[:1]
    for value in values[1:]:
        maxima.append(np.maximum(maxima[-1], value))
    return maxima


def _scatter_to_maxima(dy: np.ndarray, values: list[np.ndarray], gradients: list[np.ndarray]) -> None:
    """
    Write dy to the gradient of the first maximum, and 0 to the other gradients.

    Among equal infinities, and among 0 and -0, any one may count as the first.
    """
    integer = _INTEGERS[dy.itemsize]
    maxima = _running_maxima(values[:-1])
    for i in range(len(values) - 1, 0, -1):
        # The sign bit of the difference, spread to a mask of all bits: NumPy has no faster selection.
        mask = np.subtract(maxima[i - 1], values[i]).view(integer)
        mask >>= 8 * dy.itemsize - 1
        np.bitwise_and(dy.view(integer), mask, out=gradients[i].view(integer))
        remaining = gradients[0] if i == 1 else np.empty_like(dy)
        np.subtract(dy, gradients[i], out=remaining)
        dy = remaining
    if len(values) == 1:
        gradients[0][...] = dy
