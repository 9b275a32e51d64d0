"""Whole numbers and axes as graphs give them, and both orders of axes."""

from typing import Any

from portanet.backends import backend_of
from portanet.typing import Shape


def channels_first_axes(ndim: int) -> Shape:
    """
    Return the axes of (N, ..., C) in the order (N, C, ...).

    Examples
    --------
    >>> channels_first_axes(4), channels_first_axes(2)
    ((0, 3, 1, 2), (0, 1))
    """
    return (0, ndim - 1, *range(1, ndim - 1))


def channels_last_axes(ndim: int) -> Shape:
    """
    Return the axes of (N, C, ...) in the order (N, ..., C).

    Examples
    --------
    >>> channels_last_axes(4), channels_last_axes(2)
    ((0, 2, 3, 1), (0, 1))
    """
    return (0, *range(2, ndim), 1)


def integers(values: Any) -> Shape:
    """
    Return axes, lengths or the like as Python numbers: an attribute is a list, an input an array.

    Examples
    --------
    >>> integers([1, 2]), integers(np.asarray([3])), integers(np.asarray(4)), integers(5)
    ((1, 2), (3,), (4,), (5,))
    """
    if isinstance(values, int):
        return (values,)
    if isinstance(values, (list, tuple)):
        return tuple(map(int, values))
    return tuple(map(int, backend_of(values).to_numpy(values).ravel()))


def positive_axes(axes: Any, ndim: int) -> Shape:
    """
    Return axes counted from the front.

    Raises
    ------
    ValueError
        If there is no such axis.

    Examples
    --------
    >>> positive_axes([-1, 0], 3)
    (2, 0)
    """
    for axis in (axes := integers(axes)):
        if not -ndim <= axis < ndim:
            raise ValueError(f"axis must be from {-ndim} to {ndim - 1} for an array of {ndim} axes, got {axis}")
    return tuple(axis % ndim for axis in axes)


def aligned_shape(shape: Shape, ndim: int, axis: int) -> Shape:
    """
    Return the shape with which an array is broadcast to ``ndim`` axes, its first axis to that of number ``axis``.

    Raises
    ------
    ValueError
        If the array has more axes than there are from ``axis`` on.

    Examples
    --------
    >>> aligned_shape((3,), 4, 1)
    (3, 1, 1)
    """
    (first,) = positive_axes(axis, ndim)
    if first + len(shape) > ndim:
        raise ValueError(f"an array of shape {shape} has more axes than there are from axis {axis} on, of {ndim}")
    return (*shape, *(1,) * (ndim - first - len(shape)))
