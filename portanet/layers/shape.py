"""Layers that only arrange numbers."""

import math

from portanet.backends import namespace
from portanet.layers.base import Layer
from portanet.typing import Array, Pullback, Shape


class Reshape(Layer):
    """
    Give every input a new shape.

    Parameters
    ----------
    *shape : int
        Of one output, without the batch axis; one -1 stands for what is left.

    Examples
    --------
    >>> Reshape(28, 28, 1)(np.zeros((5, 784))).shape
    (5, 28, 28, 1)
    """

    def __init__(self, *shape: int):
        if any(n < 1 and n != -1 for n in shape) or shape.count(-1) > 1:
            raise ValueError(f"shape must be positive numbers with at most one -1, got {shape}")
        self.shape = shape

    def output_shape(self, shape: Shape) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        new = tuple(size // known if n == -1 else n for n in self.shape)
        if math.prod(new) != size:
            raise ValueError(f"{self!r} cannot take inputs of shape {shape}: they hold {size} numbers")
        return new

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        y = xp.reshape(x, (x.shape[0], *self.output_shape(x.shape[1:])))
        return y, lambda dy, *, need_dx=True, need_grads=True: xp.reshape(dy, x.shape) if need_dx else None


class Flatten(Reshape):
    """
    Turn every input into one row.

    Examples
    --------
    >>> Flatten()(np.zeros((5, 28, 28, 1))).shape
    (5, 784)
    """

    def __init__(self) -> None:
        super().__init__(-1)
