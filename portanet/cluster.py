"""Clustering: k-means, on the device of its data."""

import math
from typing import Any, NamedTuple, Self

import numpy as np

from portanet import kernels
from portanet.backends import Backend, namespace
from portanet.checks import check_count
from portanet.estimator import Estimator, like_input
from portanet.kernels.distances import blocks, distance_blocks, sum_of_squares
from portanet.typing import Array


class KMeans(Estimator):
    """
    Clusters around centres, by Lloyd's algorithm [1]_: examples go to their nearest centre, centres to their mean.

    Of several centres at the same distance, an example goes to the first. A centre that is left without examples goes
    to the example farthest from its own centre, as in scikit-learn [3]_. Beside the data, this takes memory for a few
    numbers an example and for some blocks of 2**20 numbers, or of 256 examples where these are more.

    Parameters
    ----------
    n_clusters : int
        K, how many.
    init : "k-means++" or array_like, shape (K, D)
        Centres to begin with: examples, drawn one after another in proportion to their squared distances to those drawn
        before, each the best of ``2 + log(K)`` draws [2]_; or given ones.
    n_init : int
        Starts, each from draws of its own; the one of least inertia is kept. One, where centres are given.
    max_iter : int
        Iterations of a start at most.
    tol : float
        A start ends when the squared movements of all centres add up to no more than ``tol`` times the mean variance of
        a feature, as in scikit-learn; 0 waits until no example changes its cluster.
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
    .. [2] D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007; the draws: section 7.
    .. [3] F. Pedregosa et al., Scikit-learn: machine learning in Python, JMLR 12, 2011: ``sklearn.cluster.KMeans``.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> kmeans = KMeans(2).fit(x)
    >>> kmeans.inertia_, kmeans.cluster_centers_
    (1.0, array([[9. , 0.5],
           [0. , 0.5]]))
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
        self.n_clusters, self.n_init = check_count("n_clusters", n_clusters), check_count("n_init", n_init)
        self.max_iter = check_count("max_iter", max_iter)
        if not tol >= 0:
            raise ValueError(f"tol must not be negative, got {tol}")
        if isinstance(init, str) and init != "k-means++":
            raise ValueError(f"init must be 'k-means++' or an array of centres, got {init!r}")
        if not isinstance(init, str) and n_init != 1:
            raise ValueError(f"n_init must be 1 where init gives the centres, got {n_init}: all would start the same")
        self.init, self.tol, self.seed = init, tol, seed

    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, with the shape of an array of centres for the array."""
        given = super().arguments()
        return given if isinstance(self.init, str) else {**given, "init": f"array of shape {np.shape(self.init)}"}

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
            data = _Data(backend, examples, origin, self.tol * variance)
            runs = (_lloyd(data, self._start(data, rng), self.max_iter) for _ in range(self.n_init))
            best = min(runs, key=lambda run: run.costs[-1])
        self._origin, self.cluster_centers_, self.labels_ = origin, best.centres, like_input(backend, x, best.labels)
        self.inertia_, self.n_iter_, self.cost_history_ = best.costs[-1], len(best.costs) - 1, np.asarray(best.costs)
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
            return like_input(backend, x, _nearest(examples, self.cluster_centers_, self._origin))

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
            by_block = distance_blocks(examples, centres, origin)
            pieces = [xp.astype(xp.sqrt(squares), centres.dtype) for _, squares in by_block]
            return like_input(backend, x, xp.concat(pieces))

    def _start(self, data: "_Data", rng: np.random.Generator) -> Array:
        """Centres to begin with."""
        if isinstance(self.init, str):
            return _plus_plus(data, self.n_clusters, rng)
        xp, centres = data.backend.xp, data.backend.asarray(self.init)
        if tuple(centres.shape) != (shape := (self.n_clusters, data.x.shape[1])):
            raise ValueError(f"init must have shape (n_clusters, D), {shape}, got {tuple(centres.shape)}")
        centres = xp.astype(centres, data.x.dtype)
        if not bool(xp.all(xp.isfinite(centres))):
            raise ValueError("init holds NaN or infinity: remove or replace these")
        return centres


class _Data(NamedTuple):
    """Examples, a place amid them, and what movement of centres no longer counts."""

    backend: Backend
    x: Array
    origin: Array
    tol: float


class _Run(NamedTuple):
    centres: Array
    labels: Array
    costs: list[float]


def _plus_plus(data: _Data, n_clusters: int, rng: np.random.Generator) -> Array:
    """Greedy k-means++: of a few examples drawn in proportion to their cost, take the one that leaves the least."""
    xp, x, asarray = data.backend.xp, data.x, data.backend.asarray

    def costs_with(candidates: Array, costs: Array) -> Array:
        pieces = [squares for _, squares in distance_blocks(x, candidates, data.origin)]
        return xp.minimum(xp.concat(pieces), xp.expand_dims(costs, axis=1))

    centres = [xp.take(x, asarray(rng.integers(x.shape[0], size=1)), axis=0)]
    costs = costs_with(centres[0], xp.full_like(x[:, 0], math.inf))[:, 0]
    while len(centres) < n_clusters:
        # Rounding differs between devices; in float32 it would grow along the sum and turn draws into others.
        heights = xp.cumulative_sum(costs, dtype=xp.float64)
        drawn = heights[-1] * asarray(rng.random(2 + int(math.log(n_clusters))))
        places = xp.minimum(xp.searchsorted(heights, drawn, side="right"), x.shape[0] - 1)
        candidates = xp.take(x, places, axis=0)
        costs_after = costs_with(candidates, costs)
        best = xp.reshape(xp.argmin(xp.sum(costs_after, axis=0)), (1,))
        costs = xp.take(costs_after, best, axis=1)[:, 0]
        centres.append(xp.take(candidates, best, axis=0))
    return xp.concat(centres)


def _lloyd(data: _Data, centres: Array, max_iter: int) -> _Run:
    """Alternate between nearest centres and means; the device is read once an iteration."""
    xp, costs = data.backend.xp, []
    for _ in range(max_iter):
        sums, counts, cost = kernels.cluster_sums(data.x, centres, data.origin)
        moved = _means(sums, counts, centres, data.origin)
        read = data.backend.to_numpy(xp.concat([xp.stack([cost, _movement(centres, moved)]), counts]))
        costs.append(float(read[0]))
        movement, empty = float(read[1]), np.flatnonzero(read[2:] == 0)
        if empty.size:
            moved = _means(*_filled(data, centres, sums, counts, empty), centres, data.origin)
            movement = float(_movement(centres, moved))
        centres = moved
        if movement <= data.tol:
            break
    labels = _nearest(data.x, centres, data.origin)
    return _Run(centres, labels, [*costs, float(xp.sum(_squares(data.x, centres, labels)))])


def _means(sums: Array, counts: Array, centres: Array, origin: Array) -> Array:
    """Mean of each cluster; an empty one keeps its centre."""
    xp = namespace(sums)
    counts = xp.expand_dims(counts, axis=1)
    return xp.where(counts > 0, origin + sums / xp.maximum(counts, 1.0), centres)


def _movement(centres: Array, moved: Array) -> Array:
    return namespace(centres).sum((moved - centres) ** 2)


def _filled(data: _Data, centres: Array, sums: Array, counts: Array, empty: np.ndarray) -> tuple[Array, Array]:
    """Sums and counts after the examples farthest from their centres, if far at all, went to empty clusters."""
    xp, n_clusters = data.backend.xp, centres.shape[0]
    labels = _nearest(data.x, centres, data.origin)
    squares = data.backend.to_numpy(_squares(data.x, centres, labels))
    farthest = np.argsort(-squares, kind="stable")[: empty.size]
    farthest = farthest[squares[farthest] > data.tol]
    going, to = data.backend.asarray(farthest), data.backend.asarray(empty[: farthest.size])
    after, before = (kernels.one_hot(cluster, n_clusters, sums.dtype) for cluster in (to, xp.take(labels, going)))
    rows = xp.take(data.x, going, axis=0) - data.origin
    return sums + xp.matmul(xp.matrix_transpose(after - before), rows), counts + xp.sum(after - before, axis=0)


def _nearest(x: Array, centres: Array, origin: Array) -> Array:
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
