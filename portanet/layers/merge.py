"""Layers that make one array of several: of a tuple (a, b, ...), as a node of a :class:`portanet.Graph` takes it."""

from collections.abc import Sequence
from math import prod
from typing import Any

from portanet.backends import namespace
from portanet.layers.base import Layer, batch, input_pullback
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

    def _shapes(self, shape: Shapes) -> list[Shape]:
        if not isinstance(shape, tuple) or len(shape) < 2 or not all(isinstance(one, tuple) for one in shape):
            raise ValueError(f"{self!r} needs a tuple of two arrays or more, got {shape}")
        return list(shape)

    def _check(self, x: Any) -> None:
        self.output_shape(tuple(tuple(a.shape[1:]) for a in x) if isinstance(x, tuple) else tuple(x.shape[1:]))


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

        def dx(dy: Array) -> tuple[Array, ...]:
            return tuple(dy[..., start:end] for start, end in _bounds(x))

        return namespace(x[0]).concat(list(x), axis=-1), input_pullback(dx)


def _bounds(arrays: Sequence[Array]) -> list[tuple[int, int]]:
    """
    Return where each array begins and ends in the last axis when they are side by side.

    Examples
    --------
    >>> _bounds([np.ones((2, 3)), np.ones((2, 2))])
    [(0, 3), (3, 5)]
    """
    ends = [sum(a.shape[-1] for a in arrays[: i + 1]) for i in range(len(arrays))]
    return list(zip([0, *ends[:-1]], ends, strict=True))
