"""Layers that change the shape only."""

import math
from typing import Any

from portanet.backends import namespace
from portanet.checks import Checked, check_count, shown
from portanet.layers.base import Layer, input_pullback
from portanet.typing import Array, Pullback, Shape

__all__ = ["Flatten", "Reshape"]


def _check_shape(name: str, value: Any) -> Shape:
    try:
        sizes = tuple(check_count(name, n, at_least=-1) for n in value)
    except (TypeError, ValueError):
        sizes = (0,)
    if 0 in sizes or sizes.count(-1) > 1:
        raise ValueError(f"{name} must be whole numbers of at least 1, and at most one -1, got {shown(value)}")
    return sizes


class Reshape(Layer):
    """
    Give every example a new shape; dx is dy in the old one.

    Parameters
    ----------
    *shape : int
        Shape of one output, without the batch axis; one length may be -1 and is inferred.

    Examples
    --------
    >>> Reshape(28, 28, 1)(np.zeros((5, 784))).shape
    (5, 28, 28, 1)
    """

    shape = Checked(_check_shape)

    def __init__(self, *shape: int):
        self.shape = shape

    def output_shape(self, shape: Shape) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        new = tuple(size // known if n == -1 else n for n in self.shape)
        if math.prod(new) != size:
            raise ValueError(f"{self!r} cannot take inputs of shape {shape}, {size} numbers each: make the sizes equal")
        return new

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        y = xp.reshape(x, (x.shape[0], *self.output_shape(x.shape[1:])))
        return y, input_pullback(lambda dy: xp.reshape(dy, x.shape))


class Flatten(Reshape):
    """
    Turn every example into one row: (N, ...) to (N, D).

    Examples
    --------
    >>> Flatten()(np.zeros((5, 28, 28, 1))).shape
    (5, 784)
    """

    def __init__(self) -> None:
        super().__init__(-1)
