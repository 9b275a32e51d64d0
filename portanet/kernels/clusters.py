"""Nearest centres, and the sums over clusters from which k-means computes its new centres."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.distances import blocks, distance_blocks
from portanet.kernels.labels import one_hot
from portanet.typing import Array


@kernel
def nearest_centres(x: Array, centres: Array, origin: Array) -> tuple[Array, Array]:
    """
    Find the nearest centre of each row of ``x``.

    Parameters
    ----------
    x : array of float, shape (N, D)
    centres : array of float, shape (K, D)
    origin : array of float, shape (D,)
        A point near the data, see :func:`portanet.kernels.distances.distance_blocks`.

    Returns
    -------
    labels : array of int, shape (N,)
        Index of the nearest centre, the first one if several are at the same distance.
    squares : array, shape (N,)
        Squared distance to it, from differences, which lose no precision far from ``origin``.

    Examples
    --------
    >>> nearest_centres(np.asarray([[0.0], [9.0]]), np.asarray([[2.0], [8.0]]), origin=np.asarray([4.0]))
    (array([0, 1]), array([4., 1.]))
    """
    xp = namespace(x)
    origin = xp.astype(origin, xp.float64)  # in float32, rounding would exchange centres that are far from the origin
    labels = xp.concat([xp.argmin(distances, axis=1) for _, distances in distance_blocks(x, centres, origin)])
    squares = []
    for rows in blocks(x, x.shape[1]):
        differences = x[rows, ...] - xp.take(centres, labels[rows], axis=0)
        squares.append(xp.vecdot(differences, differences))
    return labels, xp.concat(squares)


@kernel
def cluster_sums(x: Array, centres: Array, origin: Array, weights: Array | None = None) -> tuple[Array, Array, Array]:
    """
    Assign each row of ``x`` to its nearest centre, and sum the rows of each cluster.

    Parameters
    ----------
    x : array of float, shape (N, D)
    centres : array of float, shape (K, D)
    origin : array of float, shape (D,)
        A point near the data, see :func:`portanet.kernels.distances.distance_blocks`.
    weights : array of float, shape (N,), optional
        A row of weight 2 counts as two rows.

    Returns
    -------
    sums : array, shape (K, D)
        Sum of ``x - origin`` over the rows of each cluster. Subtracting the origin first keeps more digits.
    counts : array, shape (K,)
        Rows in each cluster, or their weights, in the dtype of ``x``.
    cost : array, shape ()
        Sum of the squared distances of all rows to their centres.

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
    start = 0
    for rows, distances in distance_blocks(x, centres, xp.astype(origin, xp.float64)):
        members = one_hot(xp.argmin(distances, axis=1), n_clusters, x.dtype)
        nearest = xp.astype(xp.min(distances, axis=1), x.dtype, copy=False)
        if weights is not None:
            block = weights[start : start + rows.shape[0]]
            members, nearest = members * xp.expand_dims(block, axis=1), nearest * block
        differences = xp.astype(rows, x.dtype, copy=False)
        sums += xp.matmul(xp.matrix_transpose(members), differences)  # deterministic, unlike an atomic scatter-add
        counts += xp.sum(members, axis=0)
        cost += xp.sum(nearest)
        start += rows.shape[0]
    return sums, counts, cost
