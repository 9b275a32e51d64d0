"""The sums that k-means moves its centres by."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.distances import distance_blocks
from portanet.kernels.labels import one_hot
from portanet.typing import Array


@kernel
def cluster_sums(x: Array, centres: Array, origin: Array) -> tuple[Array, Array, Array]:
    """
    Give each row of ``x`` to its nearest centre, and add up what each centre has got.

    Parameters
    ----------
    x : array of float, shape (N, D)
    centres : array of float, shape (K, D)
    origin : array of float, shape (D,)
        A place amid both, see :func:`portanet.kernels.squared_distances`.

    Returns
    -------
    sums : array, shape (K, D)
        Of the rows less ``origin``: small numbers, of which more digits are left.
    counts : array, shape (K,)
        How many rows, in the dtype of ``x``.
    cost : array, shape ()
        Squared distances of all rows to their centres.

    Examples
    --------
    >>> x, centres = np.asarray([[0.0], [1.0], [9.0]]), np.asarray([[1.0], [8.0]])
    >>> sums, counts, cost = cluster_sums(x, centres, origin=np.asarray([4.0]))
    >>> sums.tolist(), counts.tolist(), float(cost)
    ([[-7.0], [5.0]], [2.0, 1.0], 2.0)
    """
    xp, n_clusters = namespace(x), centres.shape[0]
    sums, counts = xp.zeros_like(centres), xp.zeros_like(centres[:, 0])
    cost = xp.zeros((), dtype=x.dtype, device=x.device)
    for rows, distances in distance_blocks(x, centres, origin):
        members = one_hot(xp.argmin(distances, axis=1), n_clusters, x.dtype)
        sums += xp.matmul(xp.matrix_transpose(members), rows)  # a scatter, without its race between additions
        counts += xp.sum(members, axis=0)
        cost += xp.sum(xp.min(distances, axis=1))
    return sums, counts, cost
