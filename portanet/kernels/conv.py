"""
Convolution over any number of axes, and its two gradients.

``y[n, p, o] = Σ_k Σ_c x[n, p·stride + k·dilation, c] w[k, c, o]`` (a cross-correlation, as everywhere in this field),
one matrix product for each cell k of the kernel. Beside input and output they hold a padded copy and one product.
"""

import math
from collections.abc import Callable

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.windows import Window
from portanet.typing import Array


@kernel
def conv(x: Array, w: Array, window: Window) -> Array:
    """Convolution of (N, *space, C) with (*kernel, C, O): shape (N, *places, O)."""
    xp, padded = namespace(x), window.pad(x)
    n_in, n_out = w.shape[-2:]
    y = xp.zeros((x.shape[0] * math.prod(window.output_shape), n_out), dtype=x.dtype, device=x.device)
    for cell, here in window.offsets:
        y += xp.matmul(xp.reshape(padded[here], (-1, n_in)), w[*cell, ...])
    return xp.reshape(y, (x.shape[0], *window.output_shape, n_out))


@kernel
def conv_input_gradient(dy: Array, w: Array, window: Window) -> Array:
    """Gradient of the convolution with respect to x, given that of y: shape (N, *space, C)."""
    xp, (n_in, n_out) = namespace(dy), w.shape[-2:]
    dx = xp.zeros((dy.shape[0], *window.padded_shape, n_in), dtype=dy.dtype, device=dy.device)
    rows = xp.reshape(dy, (-1, n_out))
    for cell, here in window.offsets:
        part = xp.matmul(rows, xp.matrix_transpose(w[*cell, ...]))
        dx[here] += xp.reshape(part, (*dy.shape[:-1], n_in))
    return dx[window.interior]


@kernel
def conv_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """Gradient of the convolution with respect to w, given that of y: shape (*kernel, C, O)."""
    xp, padded = namespace(x), window.pad(x)
    rows = xp.reshape(dy, (-1, dy.shape[-1]))
    cells = [
        xp.matmul(xp.matrix_transpose(xp.reshape(padded[here], (-1, x.shape[-1]))), rows) for _, here in window.offsets
    ]
    return xp.reshape(xp.stack(cells, axis=0), (*window.size, x.shape[-1], dy.shape[-1]))


def grouped(function: Callable[[Array, Array, Window], Array], a: Array, b: Array, window: Window, n: int) -> Array:
    """Deal the last axes of two arrays out to n calls of one of the above side by side, and join what they give."""
    if n == 1:
        return function(a, b, window)

    def dealt(array: Array) -> list[Array]:
        size = array.shape[-1] // n
        return [array[..., i * size : (i + 1) * size] for i in range(n)]

    parts = [function(*pair, window) for pair in zip(dealt(a), dealt(b), strict=True)]
    return namespace(a).concat(parts, axis=-1)
