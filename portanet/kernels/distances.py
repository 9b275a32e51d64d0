"""Euclidean distances between the rows of two matrices, as a matrix product and a block of rows at a time."""

from collections.abc import Iterator

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

BLOCK, LEAST = 2**20, 256
"""Numbers that a block of rows may hold, to stay in a CPU's cache; but no fewer rows, for a matrix product to pay."""


@kernel
def squared_distances(x: Array, y: Array) -> Array:
    """
    Squared Euclidean distances ``|x|² - 2 x·y + |y|²`` of each row of ``x`` to each row of ``y``.

    Parameters
    ----------
    x : array of float, shape (N, D)
        Near 0, as ``y``: what is lost is a rounding of ``|x|² + |y|²``, so that far from 0 nothing would be left.
    y : array of float, shape (M, D)

    Returns
    -------
    array, shape (N, M)
        Not negative.

    Examples
    --------
    >>> squared_distances(np.asarray([[0.0, 0.0]]), np.asarray([[3.0, 4.0], [0.0, 1.0]]))
    array([[25.,  1.]])
    """
    xp = namespace(x)
    distances = xp.matmul(x, xp.matrix_transpose(-2.0 * y))
    distances += xp.expand_dims(xp.vecdot(x, x), axis=1)
    distances += xp.vecdot(y, y)
    return xp.maximum(distances, 0.0)


def distance_blocks(x: Array, y: Array, origin: Array) -> Iterator[tuple[Array, Array]]:
    """
    Yield the rows of ``x``, block by block and less ``origin``, with their squared distances to all rows of ``y``.

    Parameters
    ----------
    x : array of float, shape (N, D)
    y : array of float, shape (M, D)
    origin : array of float, shape (D,)
        A place amid both, see :func:`squared_distances`. In float64 it makes the distances so.

    Examples
    --------
    >>> for rows, distances in distance_blocks(np.eye(2), np.ones((1, 2)), origin=np.ones(2)):
    ...     print(rows.tolist(), distances.tolist())
    [[0.0, -1.0], [-1.0, 0.0]] [[1.0], [1.0]]
    """
    y = y - origin
    for rows in blocks(x.shape[0], x.shape[1] + 4 * y.shape[0]):
        here = x[rows, ...] - origin
        yield here, squared_distances(here, y)


def sum_of_squares(x: Array, origin: Array | float = 0.0) -> Array:
    """
    Sum of the squared distances of the rows of ``x`` to ``origin``, of shape (); NaN or infinite if a number of x is.

    Examples
    --------
    >>> sum_of_squares(np.asarray([[0.0, 0.0], [3.0, 5.0]]), origin=np.asarray([0.0, 1.0]))
    np.float64(26.0)
    """
    xp = namespace(x)
    total = xp.zeros((), dtype=x.dtype, device=x.device)
    for rows in blocks(*x.shape):
        here = x[rows, ...] - origin
        total = total + xp.sum(xp.vecdot(here, here))
    return total


def blocks(n: int, width: int) -> Iterator[slice]:
    """
    Slices of ``n`` rows, so many at a time that ``width`` numbers for each of them are no more than ``BLOCK``.

    Examples
    --------
    >>> [(rows.start, rows.stop) for rows in blocks(6000, 350)]
    [(0, 2995), (2995, 5990), (5990, 6000)]
    """
    step = max(LEAST, BLOCK // width)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
