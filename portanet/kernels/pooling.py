"""
Pooling over any number of axes: the largest, or the mean, of each place of a window.

Windows may overlap. Each cell of the window is one strided slice of the whole batch, so that pooling is as many passes
as the window has cells, forward and back.
"""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.windows import Window
from portanet.typing import Array


@kernel
def max_pool(x: Array, window: Window) -> Array:
    """Largest value of each place, (N, *places, C); padding never counts."""
    xp, padded = namespace(x), window.pad(x, -math.inf)
    cells = [padded[here] for _, here in window.offsets]
    y = cells[0]
    for cell in cells[1:]:
        y = xp.maximum(y, cell)
    return y


@kernel
def max_pool_gradient(dy: Array, x: Array, y: Array, window: Window) -> Array:
    """
    Gradient of max pooling with respect to x, (N, *space, C): each goes to one cell that was the largest.

    Of equal cells it is the first along the last axis, of those the first along the axis before, and so on.
    """
    xp, padded = namespace(dy), window.pad(x, math.nan)  # equal to nothing, even where all of x is -inf
    dx = xp.zeros(padded.shape, dtype=dy.dtype, device=dy.device)
    left = dy  # what has not found its cell yet
    for _, here in sorted(window.offsets, key=lambda cell: cell[0][::-1]):
        part = left * xp.astype(padded[here] == y, dy.dtype)
        dx[here] += part
        left = left - part
    return dx[window.interior]


@kernel
def sum_pool(x: Array, window: Window) -> Array:
    """Sum of each place, (N, *places, C)."""
    xp, padded = namespace(x), window.pad(x)
    y = xp.zeros((x.shape[0], *window.output_shape, x.shape[-1]), dtype=x.dtype, device=x.device)
    for _, here in window.offsets:
        y += padded[here]
    return y


@kernel
def sum_pool_gradient(dy: Array, window: Window) -> Array:
    """Gradient of the sums with respect to x, (N, *space, C): each cell has that of all places it was in."""
    xp = namespace(dy)
    dx = xp.zeros((dy.shape[0], *window.padded_shape, dy.shape[-1]), dtype=dy.dtype, device=dy.device)
    for _, here in window.offsets:
        dx[here] += dy
    return dx[window.interior]
