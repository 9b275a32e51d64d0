"""
Convolution over any number of axes, and its two gradients.

``y[n, p, o] = Σ_k Σ_c x[n, p·stride + k·dilation, c] w[k, c, o]`` (a cross-correlation, as everywhere in this field),
one matrix product for each cell k of the kernel. All three hold no more than one array beside their input and output.
"""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.windows import Window
from portanet.typing import Array


@kernel
def conv(x: Array, w: Array, window: Window, groups: int = 1) -> Array:
    """
    Convolution of (N, *space, C) with (*kernel, C / groups, O): shape (N, *places, O).

    With groups, the channels are dealt out to so many convolutions side by side.
    """
    if groups > 1:
        xs, ws = _split(x, groups), _split(w, groups)
        return namespace(x).concat([conv.portable(*pair, window) for pair in zip(xs, ws, strict=True)], axis=-1)
    xp, padded = namespace(x), window.pad(x)
    n_in, n_out = w.shape[-2:]
    y = xp.zeros((x.shape[0] * math.prod(window.places), n_out), dtype=x.dtype, device=x.device)
    for cell, here in window.cells:
        y += xp.matmul(xp.reshape(padded[here], (-1, n_in)), w[*cell, ...])
    return xp.reshape(y, (x.shape[0], *window.places, n_out))


@kernel
def conv_input_gradient(dy: Array, w: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the convolution with respect to x, given that of y: shape (N, *space, C)."""
    if groups > 1:
        pairs = zip(_split(dy, groups), _split(w, groups), strict=True)
        return namespace(dy).concat([conv_input_gradient.portable(*pair, window) for pair in pairs], axis=-1)
    xp, (n_in, n_out) = namespace(dy), w.shape[-2:]
    dx = xp.zeros((dy.shape[0], *window.padded, n_in), dtype=dy.dtype, device=dy.device)
    rows = xp.reshape(dy, (-1, n_out))
    for cell, here in window.cells:
        part = xp.matmul(rows, xp.matrix_transpose(w[*cell, ...]))
        dx[here] += xp.reshape(part, (*dy.shape[:-1], n_in))
    return dx[window.inside]


@kernel
def conv_weight_gradient(x: Array, dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the convolution with respect to w, given that of y: shape (*kernel, C / groups, O)."""
    if groups > 1:
        pairs = zip(_split(x, groups), _split(dy, groups), strict=True)
        return namespace(x).concat([conv_weight_gradient.portable(*pair, window) for pair in pairs], axis=-1)
    xp, padded = namespace(x), window.pad(x)
    rows = xp.reshape(dy, (-1, dy.shape[-1]))
    cells = [
        xp.matmul(xp.matrix_transpose(xp.reshape(padded[here], (-1, x.shape[-1]))), rows) for _, here in window.cells
    ]
    return xp.reshape(xp.stack(cells, axis=0), (*window.size, x.shape[-1], dy.shape[-1]))


def _split(array: Array, groups: int) -> list[Array]:
    """Equal parts of the last axis."""
    n = array.shape[-1] // groups
    return [array[..., i * n : (i + 1) * n] for i in range(groups)]
