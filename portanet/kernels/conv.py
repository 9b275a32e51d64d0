"""
Convolution over any number of spatial axes, and its two gradients.

``y[n, p, o] = Σ_k Σ_c x[n, p·stride + k·dilation, c] w[k, c, o] + b[o]`` (a cross-correlation, as in all deep learning
libraries), computed as one matrix product for each offset k of the window. The additional memory is that of a padded
copy of the input and of one product.

In the shapes below, C are the input channels, O the output channels, and ``size``, ``input_shape`` and
``output_shape`` those of the window. With several groups, C and O are divided into as many equal parts, and each group
of outputs sees its group of inputs: w has the shape (*size, C / groups, O).
"""

import math
from collections.abc import Callable
from typing import TypeAlias

from portanet.backends import namespace
from portanet.kernels.bias import bias_add, bias_grad
from portanet.kernels.dispatch import kernel
from portanet.kernels.windows import Window
from portanet.typing import Array

ConvGradients: TypeAlias = Callable[[Array, Array | None, Array | None, bool], None]
"""
``gradients(dy, dw, db, add)`` adds the gradients of w and b to ``dw`` and ``db``, or overwrites these if ``add`` is
False; either may be None.
"""


@kernel
def conv(x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None) -> Array:
    """Convolution of x, (N, *input_shape, C), with w, (*size, C, O), plus a bias (O,): shape (N, *output_shape, O)."""
    if bias is not None:
        y: Array = conv.portable(x, w, window, groups)
        bias_add(y, bias)
        return y
    if groups > 1:
        return _by_groups(conv, x, w, window, groups)
    xp, padded = namespace(x), window.pad(x)
    n_in, n_out = w.shape[-2:]
    y = xp.zeros((x.shape[0] * math.prod(window.output_shape), n_out), dtype=x.dtype, device=x.device)
    for offset, region in window.offsets:
        y += xp.matmul(xp.reshape(padded[region], (-1, n_in)), w[*offset, ...])
    return xp.reshape(y, (x.shape[0], *window.output_shape, n_out))


@kernel
def conv_vjp(
    x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None
) -> tuple[Array, ConvGradients]:
    """Return :func:`conv`, and a function of its gradients; a backend may keep what the two have in common."""

    def gradients(dy: Array, dw: Array | None, db: Array | None, add: bool) -> None:
        if dw is not None:
            write(dw, conv_weight_gradient(x, dy, window, groups), add)
        if db is not None:
            write(db, bias_grad(dy), add)

    return conv(x, w, window, groups, bias), gradients


def write(out: Array, values: Array, add: bool) -> None:
    """Add values to an array, or overwrite it."""
    if add:
        out += values
    else:
        out[...] = values


@kernel
def conv_input_gradient(dy: Array, w: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the convolution with respect to x, from dy, (N, *output_shape, O): shape (N, *input_shape, C)."""
    if groups > 1:
        return _by_groups(conv_input_gradient, dy, w, window, groups)
    xp, (n_in, n_out) = namespace(dy), w.shape[-2:]
    dx = xp.zeros((dy.shape[0], *window.padded_shape, n_in), dtype=dy.dtype, device=dy.device)
    dy_rows = xp.reshape(dy, (-1, n_out))
    for offset, region in window.offsets:
        product = xp.matmul(dy_rows, xp.matrix_transpose(w[*offset, ...]))
        dx[region] += xp.reshape(product, (*dy.shape[:-1], n_in))
    return dx[window.interior]


@kernel
def conv_weight_gradient(x: Array, dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the convolution with respect to w, from x and dy: shape (*size, C, O)."""
    if groups > 1:
        return _by_groups(conv_weight_gradient, x, dy, window, groups)
    xp, padded, (n_in, n_out) = namespace(x), window.pad(x), (x.shape[-1], dy.shape[-1])
    dy_rows = xp.reshape(dy, (-1, n_out))
    products = [
        xp.matmul(xp.matrix_transpose(xp.reshape(padded[region], (-1, n_in))), dy_rows) for _, region in window.offsets
    ]
    return xp.reshape(xp.stack(products, axis=0), (*window.size, n_in, n_out))


def _by_groups(
    function: Callable[[Array, Array, Window], Array], a: Array, b: Array, window: Window, groups: int
) -> Array:
    """Call a kernel for each group: a slice of the last axis of ``a`` and of ``b``; join the results along theirs."""

    def split_channels(array: Array) -> list[Array]:
        size = array.shape[-1] // groups
        return [array[..., i * size : (i + 1) * size] for i in range(groups)]

    results = [function(*pair, window) for pair in zip(split_channels(a), split_channels(b), strict=True)]
    return namespace(a).concat(results, axis=-1)
