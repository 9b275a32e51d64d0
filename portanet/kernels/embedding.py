"""The gradient of a table whose rows are looked up by index."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.labels import one_hot
from portanet.kernels.slices import slices
from portanet.typing import Array

MAX_NUMBERS = 2**22
"""Numbers of the one-hot matrix that is made at a time."""


@kernel
def embedding_gradient(dy: Array, ids: Array, n_rows: int) -> Array:
    """
    Return the gradient of ``y = table[ids]`` with respect to the table: row i is the sum of the dy whose id is i.

    The rows are products with one-hot vectors, so that the sums have the same order on every run.

    Parameters
    ----------
    dy : array of float, shape (N, D)
    ids : array of int, shape (N,)
        An index out of range counts nowhere.
    n_rows : int

    Returns
    -------
    array, shape (n_rows, D)

    Examples
    --------
    >>> embedding_gradient(np.asarray([[1.0], [2.0], [4.0]]), np.asarray([2, 0, 2]), 3)
    array([[2.],
           [0.],
           [5.]])
    """
    xp = namespace(dy)
    ids = xp.astype(ids, xp.int64, copy=False)
    blocks = slices(n_rows, max(1, MAX_NUMBERS // max(1, ids.shape[0])))
    sums = [
        xp.matmul(xp.matrix_transpose(one_hot(ids - rows.start, rows.stop - rows.start, dy.dtype)), dy)
        for rows in blocks
    ]
    return xp.concat(sums, axis=0)
