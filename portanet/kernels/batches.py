"""Batches that a device takes by itself: which one is next is a number on it."""

from collections.abc import Sequence

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def gather_batch(order: Array, place: Array, size: int, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """
    Take the rows of a batch out of each array.

    Parameters
    ----------
    order : array of int64, shape (N,)
        Rows in the order in which they are taken.
    place : array of int64, shape (1,)
        How many batches come before.
    size : int
        Rows of a batch.
    arrays : sequence of arrays, shape (N, ...)

    Examples
    --------
    >>> gather_batch(np.asarray([3, 2, 1, 0]), np.asarray([1]), 2, [np.asarray([0.0, 0.1, 0.2, 0.3])])
    (array([0.1, 0. ]),)
    """
    xp = namespace(order)
    rows = xp.take(order, place * size + xp.arange(size, dtype=order.dtype, device=order.device), axis=0)
    return tuple(xp.take(array, rows, axis=0) for array in arrays)


@kernel
def write_metrics(numbers: Array, place: Array, values: Sequence[Array]) -> None:
    """
    Write a row of a table, and go on to the next.

    Parameters
    ----------
    numbers : array, shape (N, M)
        Changed in place.
    place : array of int64, shape (1,)
        Which row; changed to the next.
    values : sequence of M arrays, shape ()

    Examples
    --------
    >>> numbers, place = np.zeros((2, 1)), np.asarray([1])
    >>> write_metrics(numbers, place, [np.asarray(5.0)])
    >>> numbers, place
    (array([[0.],
           [5.]]), array([2]))
    """
    xp = namespace(numbers)
    here = xp.arange(numbers.shape[0], dtype=place.dtype, device=place.device) == place
    for i, value in enumerate(values):
        numbers[:, i] = xp.where(here, value, numbers[:, i])
    place += 1
