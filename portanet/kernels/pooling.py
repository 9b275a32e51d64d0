"""
Max and sum pooling over any number of spatial axes.

Windows may overlap. For each offset of the window, one strided slice of the whole batch is read, so that the forward
and the backward pass take as many passes over the data as the window has elements.
"""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.windows import Window
from portanet.typing import Array


@kernel
def max_pool(x: Array, window: Window) -> Array:
    """Maximum of each window, shape (N, *output_shape, C); padding is ignored."""
    xp, padded = namespace(x), window.pad(x, -math.inf)
    values = [padded[region] for _, region in window.offsets]
    y = values[0]
    for value in values[1:]:
        y = xp.maximum(y, value)
    return y


@kernel
def max_pool_gradient(dy: Array, x: Array, y: Array, window: Window) -> Array:
    """
    Gradient of max pooling with respect to x, shape (N, *input_shape, C).

    Each element of dy is added to one element of dx, that of the maximum. Of equal maxima it is the first along the
    last axis; of those, the first along the axis before, and so on.
    """
    xp, padded = namespace(dy), window.pad(x, math.nan)  # NaN equals no maximum, even if that is -inf
    dx = xp.zeros(padded.shape, dtype=dy.dtype, device=dy.device)
    remaining = dy  # zero for each window whose maximum is found
    for _, region in sorted(window.offsets, key=lambda item: item[0][::-1]):
        found = remaining * xp.astype(padded[region] == y, dy.dtype)
        dx[region] += found
        remaining = remaining - found
    return dx[window.interior]


@kernel
def sum_pool(x: Array, window: Window, factor: float = 1.0) -> Array:
    """Sum of each window times a factor, shape (N, *output_shape, C)."""
    xp, padded = namespace(x), window.pad(x)
    y = xp.zeros((x.shape[0], *window.output_shape, x.shape[-1]), dtype=x.dtype, device=x.device)
    for _, region in window.offsets:
        y += padded[region]
    return y if factor == 1.0 else y * factor


@kernel
def sum_pool_gradient(dy: Array, window: Window, factor: float = 1.0) -> Array:
    """Gradient of ``sum_pool``, shape (N, *input_shape, C): for each x, the sum of ``factor dy`` of its windows."""
    xp = namespace(dy)
    if factor != 1.0:
        dy = dy * factor
    dx = xp.zeros((dy.shape[0], *window.padded_shape, dy.shape[-1]), dtype=dy.dtype, device=dy.device)
    for _, region in window.offsets:
        dx[region] += dy
    return dx[window.interior]
