"""Clustering: k-means, on the device of its data."""

import math
from typing import Any, NamedTuple, Self

import numpy as np

from portanet import kernels
from portanet.backends import Backend, namespace
from portanet.estimator import Estimator, count, like_input
from portanet.kernels.distances import blocks, distance_blocks, sum_of_squares
from portanet.typing import Array


class KMeans(Estimator):
    """
    Clusters around centres, by Lloyd's algorithm [1]_: examples go to their nearest centre, centres to their mean.

    An example that is equally near to several centres goes to the first of them. A cluster that is left empty takes the
    example farthest from its centre, as in scikit-learn [3]_; so clusters end empty only where there are fewer different
    examples than clusters. Beside the data, memory is taken for two numbers an example, for ``2 + log(n_clusters)``
    more while centres are drawn, and for blocks of 2**21 numbers, or of 256 examples if these are more.

    Parameters
    ----------
    n_clusters : int
        K, how many.
    init : "k-means++" or array_like, shape (K, D)
        How to begin: with examples drawn one after another in proportion to their squared distance to those before, each
        the best of ``2 + log(K)`` draws [2]_; or with given centres.
    n_init : int
        Starts from other draws; the one of least inertia is kept. One, where centres are given.
    max_iter : int
        Iterations of a start at most.
    tol : float
        A start has converged when the squared movements of all centres add up to no more than ``tol`` times the mean
        variance of the features [3]_; 0 waits until no example changes its cluster.
    seed : int
        Of the draws, which are made on the host: the same on every device.
    device : str, optional
        Where to compute; by default where the data are, and for host data the default device.

    Attributes
    ----------
    cluster_centers_ : array, shape (K, D)
        Centres, on the device.
    labels_ : array of int, shape (N,)
        Cluster of each example, from 0 to K - 1; NumPy for host data, else on the device.
    inertia_ : float
        Sum of the squared distances of the examples to their centres.
    n_iter_ : int
        Iterations of the start that was kept.
    cost_history_ : array of float64, shape (n_iter_ + 1,)
        Its inertia before each iteration, and in the end; on the host.

    References
    ----------
    .. [1] S. P. Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 28, 1982.
    .. [2] D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007; several draws: section 7.
    .. [3] F. Pedregosa et al., Scikit-learn: machine learning in Python, JMLR 12, 2011: ``sklearn.cluster.KMeans``.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> kmeans = KMeans(2).fit(x)
    >>> kmeans.inertia_, kmeans.cluster_centers_
    (1.0, array([[9. , 0.5], [0. , 0.5]]))
    >>> kmeans.predict([[8.0, 3.0], [1.0, 1.0]])
    array([0, 1])
    """

    cluster_centers_: Array
    labels_: Any
    inertia_: float
    n_iter_: int
    cost_history_: np.ndarray

    def __init__(
        self,
        n_clusters: int,
        *,
        init: Any = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        seed: int = 0,
        device: str | Backend | None = None,
    ):
        super().__init__(device)
        self.n_clusters, self.n_init = count("n_clusters", n_clusters), count("n_init", n_init)
        self.max_iter = count("max_iter", max_iter)
        if not tol >= 0:
            raise ValueError(f"tol must not be negative, got {tol}")
        if isinstance(init, str) and init != "k-means++":
            raise ValueError(f"init must be 'k-means++' or an array of centres, got {init!r}")
        if not isinstance(init, str) and n_init != 1:
            raise ValueError(f"n_init must be 1 where init gives the centres, got {n_init}: all starts would be the same")
        self.init, self.tol, self.seed = init, tol, seed

    def fit(self, x: Any) -> Self:
        """
        Find the clusters of examples.

        Parameters
        ----------
        x : array_like, shape (N, D)
            At least K examples. Float32 and float64 are computed in as they are, all else in float32.

        Raises
        ------
        ValueError
            If the examples or the given centres are unfit; an earlier fit is kept then.
        """
        backend, examples = self._place(x)
        if examples.shape[0] < self.n_clusters:
            raise ValueError(f"n_clusters is {self.n_clusters}, but x holds only {examples.shape[0]} examples")
        rng = np.random.default_rng(self.seed)
        with backend.activate():
            origin = backend.xp.mean(examples, axis=0)
            variance = float(sum_of_squares(examples, origin)) / math.prod(examples.shape)
            starts = (self._start(backend, examples, origin, rng) for _ in range(self.n_init))
            runs = (_lloyd(backend, examples, origin, start, self.tol * variance, self.max_iter) for start in starts)
            best = min(runs, key=lambda run: run.costs[-1])
        self._origin, self.cluster_centers_, self.labels_ = origin, best.centres, like_input(backend, x, best.labels)
        self.cost_history_ = np.asarray(best.costs)
        self.inertia_, self.n_iter_ = best.costs[-1], len(best.costs) - 1
        return self

    def fit_predict(self, x: Any) -> Any:
        """Fit, and return the cluster of each example, ``labels_``."""
        return self.fit(x).labels_

    def predict(self, x: Any) -> Any:
        """
        Nearest centre of each example.

        Parameters
        ----------
        x : array_like, shape (N, D)
            Host data is moved to where the centres are.

        Returns
        -------
        array of int, shape (N,)
            From 0 to K - 1; NumPy for host data, else on the device.
        """
        backend, examples = self._place_beside(x, self.cluster_centers_)
        with backend.activate():
            return like_input(backend, x, _nearest(examples, self._origin, self.cluster_centers_))

    def transform(self, x: Any) -> Any:
        """
        Distances of each example to all centres, computed in float64.

        Parameters
        ----------
        x : array_like, shape (N, D)
            Host data is moved to where the centres are.

        Returns
        -------
        array of float, shape (N, K)
            Euclidean, in the dtype of the fit; NumPy for host data, else on the device.
        """
        backend, examples = self._place_beside(x, self.cluster_centers_)
        xp, centres = backend.xp, self.cluster_centers_
        with backend.activate():
            origin = xp.astype(self._origin, xp.float64)
            squares = [squares for _, squares in distance_blocks(examples, centres, origin)]
            return like_input(backend, x, xp.astype(xp.sqrt(xp.concat(squares)), centres.dtype))

    def _start(self, backend: Backend, x: Array, origin: Array, rng: np.random.Generator) -> Array:
        """Centres to begin with."""
        if isinstance(self.init, str):
            return _plus_plus(backend, x, origin, self.n_clusters, rng)
        xp, centres = backend.xp, backend.asarray(self.init)
        if tuple(centres.shape) != (shape := (self.n_clusters, x.shape[1])):
            raise ValueError(f"init must have shape (n_clusters, D), {shape}, got {tuple(centres.shape)}")
        centres = xp.astype(centres, x.dtype)
        if not bool(xp.all(xp.isfinite(centres))):
            raise ValueError("init holds NaN or infinity: remove or replace these")
        return centres


def _plus_plus(backend: Backend, x: Array, origin: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Greedy k-means++: of a few examples drawn in proportion to their cost, take the one that leaves the least."""
    xp, n = namespace(x), x.shape[0]
    trials = 2 + int(math.log(n_clusters))

    def costs_with(candidates: Array, costs: Array) -> Array:
        pieces = [squares for _, squares in distance_blocks(x, candidates, origin)]
        return xp.minimum(xp.concat(pieces), xp.expand_dims(costs, axis=1))

    centres = [xp.take(x, backend.asarray(rng.integers(n, size=1)), axis=0)]
    costs = costs_with(centres[0], xp.full((n,), math.inf, dtype=x.dtype, device=x.device))[:, 0]
    while len(centres) < n_clusters:
        # In float64, so that rounding, which differs between devices, moves no draw to a neighbour.
        heights = xp.cumulative_sum(costs, dtype=xp.float64)
        drawn = xp.searchsorted(heights, heights[-1] * backend.asarray(rng.random(trials)), side="right")
        candidates = xp.take(x, xp.minimum(drawn, n - 1), axis=0)
        after = costs_with(candidates, costs)
        best = xp.reshape(xp.argmin(xp.sum(after, axis=0)), (1,))
        costs = xp.take(after, best, axis=1)[:, 0]
        centres.append(xp.take(candidates, best, axis=0))
    return xp.concat(centres)


class _Run(NamedTuple):
    centres: Array
    labels: Array
    costs: list[float]


def _lloyd(backend: Backend, x: Array, origin: Array, centres: Array, tol: float, max_iter: int) -> _Run:
    """Alternate between nearest centres and means."""
    xp, costs = backend.xp, []
    for _ in range(max_iter):
        sums, counts, cost = _totals(x, origin, centres)
        moved = _means(sums, counts, origin, centres)
        read = backend.to_numpy(xp.concat([xp.stack([cost, _movement(centres, moved)]), counts]))
        costs.append(float(read[0]))
        movement, empty = float(read[1]), np.flatnonzero(read[2:] == 0)
        if empty.size:
            sums, counts = _fill(backend, x, origin, centres, sums, counts, empty, tol)
            moved = _means(sums, counts, origin, centres)
            movement = float(_movement(centres, moved))
        centres = moved
        if movement <= tol:
            break
    labels = _nearest(x, origin, centres)
    return _Run(centres, labels, [*costs, float(xp.sum(_squares(x, centres, labels)))])


def _totals(x: Array, origin: Array, centres: Array) -> tuple[Array, Array, Array]:
    """Sum, less the origin, and number of each centre's examples, and the sum of all squared distances."""
    xp, n_clusters = namespace(x), centres.shape[0]
    sums, counts = xp.zeros_like(centres), xp.zeros_like(centres[:, 0])
    cost = xp.zeros((), dtype=x.dtype, device=x.device)
    for rows, squares in distance_blocks(x, centres, origin):
        members = kernels.one_hot(xp.argmin(squares, axis=1), n_clusters, x.dtype)
        sums += xp.matmul(xp.matrix_transpose(members), rows)  # a scatter, without its race between additions
        counts += xp.sum(members, axis=0)
        cost += xp.sum(xp.min(squares, axis=1))
    return sums, counts, cost


def _means(sums: Array, counts: Array, origin: Array, centres: Array) -> Array:
    """Mean of each cluster; that of an empty one is its centre."""
    xp = namespace(sums)
    counts = xp.expand_dims(counts, axis=1)
    return xp.where(counts > 0, origin + sums / xp.maximum(counts, 1.0), centres)


def _movement(centres: Array, moved: Array) -> Array:
    return namespace(centres).sum((moved - centres) ** 2)


def _fill(
    backend: Backend, x: Array, origin: Array, centres: Array, sums: Array, counts: Array, empty: np.ndarray, tol: float
) -> tuple[Array, Array]:
    """Move the examples that are farthest from their centres into the empty clusters, if they are that far at all."""
    xp, n_clusters = backend.xp, centres.shape[0]
    labels = _nearest(x, origin, centres)
    squares = backend.to_numpy(_squares(x, centres, labels))
    farthest = np.argsort(-squares, kind="stable")[: empty.size]
    farthest = farthest[squares[farthest] > tol]
    taken, filled = backend.asarray(farthest), backend.asarray(empty[: farthest.size])
    left = xp.take(labels, taken)
    change = kernels.one_hot(filled, n_clusters, x.dtype) - kernels.one_hot(left, n_clusters, x.dtype)
    rows = xp.take(x, taken, axis=0) - origin
    return sums + xp.matmul(xp.matrix_transpose(change), rows), counts + xp.sum(change, axis=0)


def _nearest(x: Array, origin: Array, centres: Array) -> Array:
    """Index of the nearest centre of each example."""
    xp = namespace(x)
    return xp.concat([xp.argmin(squares, axis=1) for _, squares in distance_blocks(x, centres, origin)])


def _squares(x: Array, centres: Array, labels: Array) -> Array:
    """Squared distance of each example to its centre, by differences: as exact as the numbers are."""
    xp, pieces = namespace(x), []
    for rows in blocks(*x.shape):
        gaps = x[rows, ...] - xp.take(centres, labels[rows], axis=0)
        pieces.append(xp.vecdot(gaps, gaps))
    return xp.concat(pieces)
