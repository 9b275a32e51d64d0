"""Convolution, max pooling and an elementwise function as one kernel, and its gradients."""

from collections.abc import Callable
from typing import TypeAlias

from portanet.kernels.conv import conv_input_gradient, conv_vjp
from portanet.kernels.dispatch import kernel
from portanet.kernels.elementwise import ElementwiseFn, elementwise
from portanet.kernels.pooling import max_pool, max_pool_gradient
from portanet.kernels.windows import Window
from portanet.typing import Array

ConvBlockPullback: TypeAlias = Callable[[Array, Array | None, Array | None, bool], Array | None]
"""
``pullback(dy, dw, db, need_dx)`` overwrites ``dw`` and ``db`` with the gradients of w and b; either may be None. It
returns dx, or None if it is not needed.
"""


@kernel
def conv_block(  # noqa: PLR0917
    x: Array,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int,
    pool: Window | None,
    fn: ElementwiseFn | None,
) -> tuple[Array, ConvBlockPullback]:
    """
    Return ``y = f(max_pool(conv(x, w) + b))``, and its pullback.

    Parameters
    ----------
    x : array, shape (N, *input_shape, C)
    w : array, shape (*size, C / groups, O)
    b : array, shape (O,), or None
    window : Window
        Of the convolution.
    groups : int
        See :func:`portanet.kernels.conv`.
    pool : Window or None
        Of max pooling, on the output of the convolution; None for no pooling.
    fn : callable or None
        See :data:`portanet.kernels.elementwise.ElementwiseFn`.

    Examples
    --------
    >>> x, w = np.asarray([[[1.0], [5.0], [2.0]]]), np.asarray([[[2.0]]])
    >>> convolution, pooling = (
    ...     Window.fit((3,), (size,), stride=(size,), dilation=(1,), padding="valid") for size in (1, 3)
    ... )
    >>> y, pullback = conv_block(x, w, None, convolution, 1, pooling, portanet.ReLU().elementwise)
    >>> dw = np.zeros_like(w)
    >>> y.item(), pullback(np.ones_like(y), dw, None, True).tolist(), dw.item()
    (10.0, [[[0.0], [2.0], [0.0]]], 5.0)
    """
    z, gradients = conv_vjp(x, w, window, groups, b)
    pooled = z if pool is None else max_pool(z, pool)
    y, derivative = (pooled, None) if fn is None else elementwise(pooled, fn)

    def pullback(dy: Array, dw: Array | None, db: Array | None, need_dx: bool) -> Array | None:
        dz = dy if derivative is None else derivative(dy)
        if pool is not None:
            dz = max_pool_gradient(dz, z, pooled, pool)
        gradients(dz, dw, db, False)
        return conv_input_gradient(dz, w, window, groups) if need_dx else None

    return y, pullback
