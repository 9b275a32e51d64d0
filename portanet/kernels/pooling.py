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
def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """
    Largest value of each place, and which cell of the window it came from, both (N, *places, C).

    Of equal values the first cell counts. Padding never counts.
    """
    xp, padded = namespace(x), window.pad(x, -math.inf)
    slices = [padded[here] for _, here in window.cells]
    y, which = xp.asarray(slices[0], copy=True), xp.zeros(slices[0].shape, dtype=xp.int32, device=x.device)
    for i, cell in enumerate(slices[1:], start=1):
        which = xp.where(cell > y, i, which)
        y = xp.maximum(y, cell)
    return y, which


@kernel
def max_pool_gradient(dy: Array, which: Array, window: Window) -> Array:
    """Gradient of max pooling with respect to x, (N, *space, C): each goes to the cell that was largest."""
    xp = namespace(dy)
    dx = xp.zeros((dy.shape[0], *window.padded, dy.shape[-1]), dtype=dy.dtype, device=dy.device)
    for i, (_, here) in enumerate(window.cells):
        dx[here] += dy * xp.astype(which == i, dy.dtype)
    return dx[window.inside]


@kernel
def sum_pool(x: Array, window: Window) -> Array:
    """Sum of each place, (N, *places, C)."""
    xp, padded = namespace(x), window.pad(x)
    y = xp.zeros((x.shape[0], *window.places, x.shape[-1]), dtype=x.dtype, device=x.device)
    for _, here in window.cells:
        y += padded[here]
    return y


@kernel
def sum_pool_gradient(dy: Array, window: Window) -> Array:
    """Gradient of the sums with respect to x, (N, *space, C): each cell has that of all places it was in."""
    xp = namespace(dy)
    dx = xp.zeros((dy.shape[0], *window.padded, dy.shape[-1]), dtype=dy.dtype, device=dy.device)
    for _, here in window.cells:
        dx[here] += dy
    return dx[window.inside]
