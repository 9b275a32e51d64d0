"""
A convolution, and the max pooling and the activation after it, as one segment that calls one kernel.

Segments are made only where the backend has a kernel ``conv_block``; elsewhere the layers compute the same one by one.
On CUDA, a training step of 004-cnn takes 21 launches with them and 42 without. Its time was not measured.
"""

from collections.abc import Collection, Sequence
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.engine.segment import Segment
from portanet.engine.traits import is_elementwise, is_max_pool, traits_of
from portanet.layers.base import check_input
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback


class ConvSegment(Segment):
    """
    A convolution with or without max pooling and an activation after it: ``y = f(max_pool(conv(x, w) + b))``.

    Parameters
    ----------
    layers : sequence of Layer
        The convolution, which has weights, and the others in this order.
    """

    def __init__(self, layers: Sequence[Any]):
        super().__init__(layers)
        self._conv, *after = layers
        self._pool = next(filter(is_max_pool, after), None)
        self._fn = next((layer.elementwise for layer in after if is_elementwise(layer)), None)
        weight, bias = self._conv.weight, self._conv.bias
        self._w, self._dw = weight.data, weight.grad
        self._b: Array | None = None if bias is None else bias.data
        self._db: Array | None = None if bias is None else bias.grad
        self._conv_block = kernels.conv_block.resolve(self._w)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        shape = self._conv.output_shape(x.shape[1:])  # refuses what does not fit
        check_input(x, self._w)
        window = self._conv.window(tuple(x.shape[1:-1]))
        pool = None if self._pool is None else self._pool.window(shape)
        y, gradients = self._conv_block(x, self._w, self._b, window, self._conv.groups, pool, self._fn)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if dy.dtype != y.dtype:
                dy = namespace(y).astype(dy, y.dtype)
            dw, db = (self._dw, self._db) if need_grads else (None, None)
            return gradients(dy, dw, db, need_dx)

        return y, pullback


def conv_segments(runnables: Sequence[Any], owned: Collection[Parameter]) -> list[Any]:
    """
    Make segments of convolutions, whose parameters all are ``owned``, and of the pooling and activations after them.

    Convolutions on backends without a kernel for them stay as they are.
    """
    grouped: list[Any] = []
    for runnable in runnables:
        group = grouped[-1] if grouped and isinstance(grouped[-1], list) else []
        if traits_of(runnable).convolution and _has_kernel(runnable) and all(p in owned for p in runnable.parameters()):
            grouped.append([runnable])
        elif group and _follows(runnable, group[-1]):
            group.append(runnable)
        else:
            grouped.append(runnable)
    return [ConvSegment(part) if isinstance(part, list) else part for part in grouped]


def _has_kernel(conv: Any) -> bool:
    return kernels.conv_block.resolve(conv.weight.data) is not kernels.conv_block.portable


def _follows(layer: Any, before: Any) -> bool:
    """Whether a layer belongs to the segment that ends with the layer before."""
    if is_max_pool(layer):
        return traits_of(before).convolution
    return is_elementwise(layer) and not is_elementwise(before)
