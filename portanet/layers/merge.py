"""Layers that make one array of several: of a tuple (a, b, ...), as a node of a :class:`portanet.Graph` takes it."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

from portanet.backends import namespace
from portanet.layers.base import Layer, batch, check_floating, check_rows_of, input_pullback
from portanet.tree import input_shape_of, shapes_of_tuple
from portanet.typing import Array, Pullback, Shape, Shapes

__all__ = ["Add", "Concatenate", "Dot", "Multiply"]


class Merge(Layer):
    """Base of layers of several arrays, which all have one shape."""

    takes_several = True

    def output_shape(self, shape: Shapes) -> Shape:
        first, *others = self._shapes(shape)
        if any(other != first for other in others):
            raise ValueError(f"{self!r} needs arrays of one shape, got {' and '.join(map(batch, shape))}")
        return first

    def _shapes(self, shape: Shapes) -> tuple[Shape, ...]:
        shapes = shapes_of_tuple(shape)
        if len(shapes) < 2:
            raise ValueError(f"{self!r} needs a tuple of two arrays or more, got one of shape {batch(shapes[0])}")
        return shapes

    def _check(self, x: Any) -> None:
        self.output_shape(input_shape_of(x))
        check_rows_of("x", x)
        for array in x:
            check_floating(self, array)


class Add(Merge):
    """
    Sum of arrays: ``y = a + b + ...``; each gets the gradient dy.

    Examples
    --------
    >>> x = np.ones((2, 3), dtype="float32")
    >>> Add()((x, x, x))
    array([[3., 3., 3.],
           [3., 3., 3.]], dtype=float32)
    """

    def vjp(self, x: tuple[Array, ...], *, train: bool = True) -> tuple[Array, Pullback]:
        self._check(x)
        return sum(x[1:], x[0]), input_pullback(lambda dy: (dy,) * len(x))


class Multiply(Merge):
    """
    Product of arrays, number by number: ``y = a b ...``.

    Gradient: ``da = dy b ...``, dy times all arrays but a.

    Examples
    --------
    >>> x = np.asarray([[1, 2, 3]], dtype="float32")
    >>> Multiply()((x, x))
    array([[1., 4., 9.]], dtype=float32)
    """

    def vjp(self, x: tuple[Array, ...], *, train: bool = True) -> tuple[Array, Pullback]:
        self._check(x)

        def dx(dy: Array) -> tuple[Array, ...]:
            return tuple(prod((*x[:i], *x[i + 1 :]), start=dy) for i in range(len(x)))

        return prod(x[1:], start=x[0]), input_pullback(dx)


class Dot(Merge):
    """
    Products of the vectors along the last axis: ``y = Σ a b``, of shape (N, ..., 1).

    Gradients: ``da = dy b`` and ``db = dy a``.

    Examples
    --------
    >>> x = np.asarray([[1, 2, 3]], dtype="float32")
    >>> Dot()((x, x))
    array([[14.]], dtype=float32)
    """

    def output_shape(self, shape: Shapes) -> Shape:
        if len(self._shapes(shape)) != 2 or not shape[0]:
            raise ValueError(f"{self!r} needs two arrays of shape (N, ..., D), got {' and '.join(map(batch, shape))}")
        return (*super().output_shape(shape)[:-1], 1)

    def vjp(self, x: tuple[Array, Array], *, train: bool = True) -> tuple[Array, Pullback]:
        self._check(x)
        a, b = x
        return namespace(a).sum(a * b, axis=-1, keepdims=True), input_pullback(lambda dy: (dy * b, dy * a))


class Concatenate(Merge):
    """
    Arrays side by side along the last axis: ``y = [a, b, ...]``; each gets its part of dy.

    The other axes must be equal. For branches of one input see :class:`portanet.Parallel`.

    Examples
    --------
    >>> Concatenate()((np.zeros((2, 3)), np.ones((2, 2)))).shape
    (2, 5)
    """

    def output_shape(self, shape: Shapes) -> Shape:
        shapes = self._shapes(shape)
        if () in shapes or len({one[:-1] for one in shapes}) > 1:
            found = " and ".join(map(batch, shapes))
            raise ValueError(f"{self!r} needs arrays that differ in the last axis only, got {found}")
        return (*shapes[0][:-1], sum(one[-1] for one in shapes))

    def vjp(self, x: tuple[Array, ...], *, train: bool = True) -> tuple[Array, Pullback]:
        self._check(x)

        return namespace(x[0]).concat(list(x), axis=-1), input_pullback(lambda dy: tuple(parts_of(dy, x)))


def parts_of(dy: Array, outputs: Sequence[Array]) -> list[Array]:
    """
    Divide the last axis into parts as long as those of some arrays, which were put side by side.

    Examples
    --------
    >>> [part.shape for part in parts_of(np.ones((2, 5)), [np.ones((2, 3)), np.ones((2, 2))])]
    [(2, 3), (2, 2)]
    """
    ends = list(accumulate(output.shape[-1] for output in outputs))
    return [dy[..., end - output.shape[-1] : end] for end, output in zip(ends, outputs, strict=True)]
