"""Euclidean distances between the rows of two matrices, as matrix products of a block of rows at a time."""

from collections.abc import Iterator

from portanet.backends import backend_of, namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.slices import slices
from portanet.typing import Array

MAX_BLOCK_ELEMENTS = 2**20
"""Maximum elements of the arrays for one block of rows, unless the backend says more: they stay in a CPU's cache."""

MIN_BLOCK_ROWS = 256
"""Minimum rows of a block, even if they exceed ``MAX_BLOCK_ELEMENTS``: smaller matrix products are slow."""


@kernel
def squared_distances(x: Array, y: Array) -> Array:
    """
    Squared Euclidean distances ``|x|² - 2 x·y + |y|²`` of each row of ``x`` to each row of ``y``.

    The rounding error is proportional to ``|x|² + |y|²``: subtract a common origin from both first, so that they are
    near 0. :func:`distance_blocks` does so.

    Parameters
    ----------
    x : array of float, shape (N, D)
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
    Yield ``x - origin`` in blocks of rows, each with its squared distances to all rows of ``y``.

    Parameters
    ----------
    x : array of float, shape (N, D)
    y : array of float, shape (M, D)
    origin : array of float, shape (D,)
        A point near the data, such as their mean: it reduces rounding, see :func:`squared_distances`. If it is
        float64, so are the distances.

    Examples
    --------
    >>> for rows, distances in distance_blocks(np.eye(2), np.ones((1, 2)), origin=np.ones(2)):
    ...     print(rows.tolist(), distances.tolist())
    [[0.0, -1.0], [-1.0, 0.0]] [[1.0], [1.0]]
    """
    y = y - origin
    for block in blocks(x, x.shape[1] + 4 * y.shape[0]):
        rows = x[block, ...] - origin
        yield rows, squared_distances(rows, y)


@kernel
def sum_of_squares(x: Array, origin: Array | float = 0.0) -> Array:
    """
    Sum of the squared distances of the rows of ``x`` to ``origin``, shape (); NaN or infinite if an element of x is.

    Examples
    --------
    >>> sum_of_squares(np.asarray([[0.0, 0.0], [3.0, 5.0]]), origin=np.asarray([0.0, 1.0]))
    np.float64(26.0)
    """
    xp = namespace(x)
    total = xp.zeros((), dtype=x.dtype, device=x.device)
    for block in blocks(x, x.shape[1]):
        rows = x[block, ...] - origin
        total = total + xp.sum(xp.vecdot(rows, rows))
    return total


def blocks(x: Array, elements_per_row: int) -> Iterator[slice]:
    """
    Slices of the rows of x, of at most ``MAX_BLOCK_ELEMENTS`` elements, but at least ``MIN_BLOCK_ROWS`` rows.

    Parameters
    ----------
    x : array, shape (N, ...)
        Its backend may set another maximum.
    elements_per_row : int
        Elements of all arrays that are computed for one row.

    Examples
    --------
    >>> [(rows.start, rows.stop) for rows in blocks(np.zeros((6000, 2)), elements_per_row=350)]
    [(0, 2995), (2995, 5990), (5990, 6000)]
    """
    maximum = backend_of(x).max_block_elements or MAX_BLOCK_ELEMENTS
    return slices(x.shape[0], max(MIN_BLOCK_ROWS, maximum // elements_per_row))
