"""Batches to read and metrics to write, selected by a counter on the device, so that a recorded step can advance it."""

from collections.abc import Sequence

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def gather_batch(order: Array, index: Array, batch_size: int, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """
    Gather the rows of one batch: ``array[order[index * batch_size : (index + 1) * batch_size]]`` of each array.

    Parameters
    ----------
    order : array of int64, shape (N,)
        Row numbers in the order of the epoch.
    index : array of int64, shape (1,)
        Number of the batch, from 0.
    batch_size : int
        Rows in a batch.
    arrays : sequence of arrays, shape (N, ...)

    Returns
    -------
    tuple of arrays, shape (batch_size, ...)

    Examples
    --------
    >>> gather_batch(np.asarray([3, 2, 1, 0]), np.asarray([1]), 2, [np.asarray([0.0, 0.1, 0.2, 0.3])])
    (array([0.1, 0. ]),)
    """
    xp = namespace(order)
    positions = index * batch_size + xp.arange(batch_size, dtype=order.dtype, device=order.device)
    rows = xp.take(order, positions, axis=0)
    return tuple(xp.take(array, rows, axis=0) for array in arrays)


@kernel
def write_metrics(table: Array, row: Array, values: Sequence[Array]) -> None:
    """
    Write one row of a table, ``table[row, :] = values``, and increment ``row``.

    Parameters
    ----------
    table : array, shape (N, M)
        Changed in place.
    row : array of int64, shape (1,)
        Incremented in place.
    values : sequence of M arrays, shape ()

    Examples
    --------
    >>> table, row = np.zeros((2, 1)), np.asarray([1])
    >>> write_metrics(table, row, [np.asarray(5.0)])
    >>> table, row
    (array([[0.],
           [5.]]), array([2]))
    """
    xp = namespace(table)
    selected = xp.arange(table.shape[0], dtype=row.dtype, device=row.device) == row
    for i, value in enumerate(values):
        table[:, i] = xp.where(selected, value, table[:, i])
    row += 1
