"""k-means clustering on the device of the data."""

import math
import warnings
from typing import Any, NamedTuple, Self

import numpy as np

from portanet import kernels
from portanet.backends import Backend, as_array, namespace
from portanet.checks import Checked, check_count, check_number, check_ranks, check_sample_weight, optional, shown
from portanet.estimator import Estimator, like_input
from portanet.kernels.distances import blocks, distance_blocks
from portanet.kernels.slices import part_of
from portanet.typing import Array, Ranks


def _check_init(name: str, value: Any) -> Any:
    try:
        shape = tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
    except ValueError:  # rows of unequal length
        shape = ()
    if (len(shape) != 2 or 0 in shape) and not (isinstance(value, str) and value == "k-means++"):
        raise ValueError(f"{name} must be 'k-means++' or an array of centres (n_clusters, D), got {shown(value)}")
    if not isinstance(value, str):
        as_array(value, name=name)
    return value


class KMeans(Estimator):
    """
    k-means clustering by Lloyd's algorithm [1]_: assign examples to the nearest centre, move centres to their mean.

    An example at the same distance from several centres belongs to the first. A centre without examples moves to the
    example farthest from its own centre, as in scikit-learn [3]_. Distances are computed in blocks, so that the memory
    for temporary arrays is small beside the data.

    Parameters
    ----------
    n_clusters : int
        Number K of clusters.
    init : "k-means++" or array_like, shape (K, D)
        Initial centres. "k-means++" draws examples one by one, with probability proportional to the squared distance
        to the nearest centre already drawn, and keeps the best of ``2 + log(K)`` candidates each time [2]_.
    n_init : int
        Number of runs with different draws; the one of lowest inertia is kept. Must be 1 for an array ``init``.
    max_iter : int
        Maximum number of iterations of a run.
    tol : float
        A run ends when the sum of the centres' squared movements is at most ``tol`` times the mean variance of the
        features, as in scikit-learn. With 0, it ends when no example changes its cluster.
    random_state : int or None
        Seed of the draws. They are made on the host, so that a seed gives the same draws on every device.
        None draws differently at each fit.
    device : str, optional
        Device to compute on; by default that of the data, and for host data the default device.

    Attributes
    ----------
    cluster_centers_ : array, shape (K, D)
        Centres, on the device.
    labels_ : array of int, shape (N,)
        Cluster of each example, in ``[0, K)``; NumPy for host data, else on the device.
    inertia_ : float
        Sum of the squared distances of the examples to their centres.
    n_iter_ : int
        Iterations of the best run.
    cost_history_ : array of float64, shape ``(n_iter_ + 1,)``
        Inertia of the best run before each iteration and at its end, on the host.

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
    (1.0, array([[0. , 0.5],
           [9. , 0.5]]))
    >>> kmeans.predict([[8.0, 3.0], [1.0, 1.0]])
    array([1, 0])
    """

    cluster_centers_: Array
    labels_: Any
    inertia_: float
    n_iter_: int
    cost_history_: np.ndarray

    n_clusters, n_init, max_iter = Checked(check_count), Checked(check_count), Checked(check_count)
    tol = Checked(check_number, at_least=0)
    init = Checked(_check_init)
    random_state = Checked(optional(check_count), at_least=0)

    def __init__(
        self,
        n_clusters: int,
        *,
        init: Any = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | None = 0,
        device: str | Backend | None = None,
    ):
        super().__init__(device)
        self.n_clusters, self.n_init, self.max_iter, self.tol = n_clusters, n_init, max_iter, tol
        self.init, self.random_state = init, random_state
        self._check_together()

    def _check_together(self) -> None:
        if not isinstance(self.init, str) and self.n_init != 1:
            raise ValueError(f"n_init must be 1 where init gives the centres, got {self.n_init}: all runs are equal")

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None, *, communicator: Ranks | None = None) -> Self:
        """
        Compute the clusters of examples.

        Parameters
        ----------
        x : array_like, shape (N, D)
            At least K examples. Integers of more than 16 bits become float64, other integers float32; those that
            float64 rounds are refused.
        y : object
            Ignored.
        sample_weight : array_like, shape (N,), optional
            Weight of each example: one of weight 2 counts as two examples.
        communicator : portanet.distributed.Communicator, optional
            Processes that fit together: all are given the same examples, and each looks at its part of them. The
            centres are those of one process up to rounding.

        Raises
        ------
        ValueError
            If the examples or the initial centres are unfit. An earlier fit is kept then.

        Warns
        -----
        UserWarning
            If some clusters hold no examples at the end, for instance because x holds fewer distinct ones.
        """
        check_ranks("communicator", communicator)
        backend, examples, scale = self._to_device(x)
        if communicator is not None:
            given = "none" if sample_weight is None else "given"
            _check_same(communicator, {"x": tuple(examples.shape), "sample_weight": given, "settings": repr(self)})
        if examples.shape[0] < self.n_clusters:
            raise ValueError(f"n_clusters is {self.n_clusters}, but x holds only {examples.shape[0]} examples")
        weights, unit = (None, 1.0) if sample_weight is None else _weights(backend, examples, sample_weight)
        rng = np.random.default_rng(self.random_state)
        with backend.activate():
            origin = backend.xp.mean(examples, axis=0)
            tol = self.tol
            if tol > 0:  # the variance takes a pass over all examples
                tol *= float(kernels.sum_of_squares(examples, origin)) / math.prod(examples.shape)
            data = _Data(backend, examples, weights, origin, tol, scale, communicator)
            runs = (_lloyd(data, self._first_centres(data, rng), self.max_iter) for _ in range(self.n_init))
            best = min(runs, key=lambda run: run.costs[-1])
            n_found = int(backend.xp.unique_values(best.labels).shape[0])
        if n_found < self.n_clusters:
            warnings.warn(
                f"the number of distinct clusters, {n_found}, is smaller than n_clusters={self.n_clusters}: x may hold "
                f"duplicates, or max_iter may be too small",
                UserWarning,
                stacklevel=2,
            )
        self._origin, self.cluster_centers_ = origin * scale, best.centres * scale
        self.labels_ = like_input(backend, x, best.labels)
        costs = [cost * scale * scale * unit for cost in best.costs]
        self.inertia_, self.n_iter_, self.cost_history_ = costs[-1], len(costs) - 1, np.asarray(costs)
        return self

    def fit_predict(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, communicator: Ranks | None = None
    ) -> Any:
        """Fit, and return the cluster of each example, ``labels_``; see :meth:`fit`."""
        return self.fit(x, sample_weight=sample_weight, communicator=communicator).labels_

    def predict(self, x: Any) -> Any:
        """
        Index of the nearest centre of each example.

        Parameters
        ----------
        x : array_like, shape (N, D)
            Host data are moved to the device of the centres.

        Returns
        -------
        array of int, shape (N,)
            In ``[0, K)``; NumPy for host data, else on the device.
        """
        backend, *arrays, _ = self._scaled(x)
        with backend.activate():
            labels, _ = kernels.nearest_centres(*arrays)
            return like_input(backend, x, labels)

    def transform(self, x: Any) -> Any:
        """
        Euclidean distances of each example to all centres, computed in float64.

        Parameters
        ----------
        x : array_like, shape (N, D)
            Host data are moved to the device of the centres.

        Returns
        -------
        array of float, shape (N, K)
            In the dtype of the fit; NumPy for host data, else on the device.
        """
        backend, examples, centres, origin, scale = self._scaled(x)
        xp = backend.xp
        with backend.activate():
            origin, pieces = xp.astype(origin, xp.float64), []
            offsets, index = centres - origin, xp.arange(centres.shape[0], device=centres.device)
            for rows, squares in distance_blocks(examples, centres, origin):
                # |x|² - 2 x·y + |y|² loses its digits near 0: take the sum of squared differences for the nearest.
                nearest = xp.argmin(squares, axis=1)
                differences = rows - xp.take(offsets, nearest, axis=0)
                exact = xp.expand_dims(xp.vecdot(differences, differences), axis=1)
                distances = xp.sqrt(xp.where(index == xp.expand_dims(nearest, axis=1), exact, squares))
                pieces.append(xp.astype(distances * scale, centres.dtype))
            return like_input(backend, x, xp.concat(pieces))

    def _scaled(self, x: Any) -> tuple[Backend, Array, Array, Array, float]:
        """Return examples, centres and origin, all divided by the number that is returned last."""
        centres, origin = self.cluster_centers_, self._origin
        backend, examples, scale = self._to_device_of(centres, x, origin=origin)
        if scale != 1.0:
            examples, centres, origin = (array / scale for array in (examples, centres, origin))
        return backend, examples, centres, origin, scale

    def _first_centres(self, data: "_Data", rng: np.random.Generator) -> Array:
        """Return the initial centres, those of the first process for all."""
        centres = self._initial_centres(data, rng)
        if data.ranks is None:
            return centres
        return data.backend.asarray(data.ranks.all_gather(data.backend.to_numpy(centres), "the first centres")[0])

    def _initial_centres(self, data: "_Data", rng: np.random.Generator) -> Array:
        if isinstance(self.init, str):
            return _plus_plus(data, self.n_clusters, rng)
        xp, centres = data.backend.xp, data.backend.asarray(self.init, name="init")
        if tuple(centres.shape) != (shape := (self.n_clusters, data.x.shape[1])):
            raise ValueError(f"init must have shape (n_clusters, D), {shape}, got {tuple(centres.shape)}")
        centres = xp.astype(centres, data.x.dtype) / data.scale
        if not bool(xp.all(xp.isfinite(centres))):
            raise ValueError(f"init holds NaN or infinity in {data.x.dtype}: remove, replace or scale these")
        return centres


def _check_same(ranks: Ranks, settings: dict[str, Any]) -> None:
    """Refuse processes that were given different data or settings."""
    first, *others = ranks.all_gather(settings, "the settings of KMeans")
    for rank, other in enumerate(others, start=1):
        for name in first:
            if first[name] != other[name]:
                found = f"{name} {shown(first[name])} and {shown(other[name])}"
                raise ValueError(f"ranks 0 and {rank} have different data or settings: {found}")


class _Data(NamedTuple):
    """
    Examples, weights, the mean, which is subtracted for precision, and the largest movement of converged centres.

    All are divided by ``scale``.
    """

    backend: Backend
    x: Array
    weights: Array | None
    origin: Array
    tol: float
    scale: float
    ranks: Ranks | None

    def part(self) -> tuple[Array, Array | None]:
        """Return the examples that this process looks at, and their weights."""
        if self.ranks is None:
            return self.x, self.weights
        rows = part_of(slice(0, self.x.shape[0]), self.ranks.rank, self.ranks.size)
        return self.x[rows, ...], None if self.weights is None else self.weights[rows]

    def sums(self, centres: Array) -> tuple[Array, Array, Array]:
        """Return the sum and the number of the examples nearest to each centre, and the cost of all."""
        (x, weights), xp = self.part(), self.backend.xp
        parts = kernels.cluster_sums(x, centres, self.origin, weights)
        if self.ranks is None:
            return parts
        message = xp.concat([xp.reshape(part, (-1,)) for part in parts])
        self.ranks.all_reduce(message)
        n = math.prod(centres.shape)
        return xp.reshape(message[:n], centres.shape), message[n:-1], message[-1]

    def nearest(self, centres: Array) -> tuple[Array, Array]:
        """Return the nearest centre of each example, and the square of its distance."""
        found = kernels.nearest_centres(self.part()[0], centres, self.origin)
        if self.ranks is None:
            return found
        of_ranks = self.ranks.all_gather([self.backend.to_numpy(array) for array in found], "the clusters")
        labels, squares = (self.backend.asarray(np.concatenate(arrays)) for arrays in zip(*of_ranks, strict=True))
        return labels, squares

    def weighted(self, costs: Array) -> Array:
        """Multiply numbers, shape (N, ...), with the weights of the examples."""
        if self.weights is None:
            return costs
        return costs * self.backend.xp.reshape(self.weights, (-1, *(1 for _ in costs.shape[1:])))


def _weights(backend: Backend, examples: Array, sample_weight: Any) -> tuple[Array, float]:
    """Return weights of at most 2, so that no product overflows, and the power of two by which they were divided."""
    xp = backend.xp
    dtype = "float64" if examples.dtype == xp.float64 else "float32"
    weights = backend.asarray(sample_weight, dtype, name="sample_weight")
    with backend.activate():
        check_sample_weight(xp, "sample_weight", weights, examples.shape[0])
        unit = 2.0 ** (math.frexp(float(xp.max(weights)))[1] - 1)
        return weights / unit, unit


class _Run(NamedTuple):
    centres: Array
    labels: Array
    costs: list[float]


def _plus_plus(data: _Data, n_clusters: int, rng: np.random.Generator) -> Array:
    """
    Greedy k-means++: draw a few examples in proportion to their cost; keep the one of lowest remaining cost.

    Examples are drawn in their order along a random direction, so that neither their own order nor a division of one
    into two of half its weight changes the draws.
    """
    xp, x, asarray = data.backend.xp, data.x, data.backend.asarray
    direction = asarray(rng.normal(size=x.shape[1]), "float64")
    places = [xp.matmul(xp.astype(x[rows, ...], xp.float64), direction) for rows in blocks(x, x.shape[1])]
    order = xp.argsort(xp.concat(places))

    def costs_with(candidates: Array, costs: Array) -> Array:
        origin = xp.astype(data.origin, xp.float64)
        pieces = [xp.astype(squares, x.dtype, copy=False) for _, squares in distance_blocks(x, candidates, origin)]
        return xp.minimum(xp.concat(pieces), xp.expand_dims(costs, axis=1))

    def draw(costs: Array, n: int) -> Array:
        # In float32, the rounding of a long sum differs between devices, and so would the drawn examples.
        cumulative = xp.cumulative_sum(xp.take(data.weighted(costs), order), dtype=xp.float64)
        drawn = xp.searchsorted(cumulative, cumulative[-1] * asarray(rng.random(n)), side="right")
        return xp.take(x, xp.take(order, xp.minimum(drawn, x.shape[0] - 1)), axis=0)

    centres = [draw(xp.ones_like(x[:, 0]), 1)]
    costs = costs_with(centres[0], xp.full_like(x[:, 0], math.inf))[:, 0]
    while len(centres) < n_clusters:
        candidates = draw(costs, 2 + int(math.log(n_clusters)))
        costs_after = costs_with(candidates, costs)
        best = xp.reshape(xp.argmin(xp.sum(data.weighted(costs_after), axis=0)), (1,))
        costs = xp.take(costs_after, best, axis=1)[:, 0]
        centres.append(xp.take(candidates, best, axis=0))
    return xp.concat(centres)


def _lloyd(data: _Data, centres: Array, max_iter: int) -> _Run:
    """Alternate between nearest centres and means, with one copy to the host per iteration."""
    xp, costs = data.backend.xp, []
    for _ in range(max_iter):
        sums, counts, cost = data.sums(centres)
        moved = _means(sums, counts, centres, data.origin)
        host = data.backend.to_numpy(xp.concat([xp.stack([cost, _movement(centres, moved)]), counts]))
        costs.append(float(host[0]))
        movement, empty = float(host[1]), np.flatnonzero(host[2:] == 0)
        if empty.size:
            moved = _means(*_fill_empty(data, centres, sums, counts, empty), centres, data.origin)
            movement = float(_movement(centres, moved))
        centres = moved
        if movement <= data.tol:
            break
    labels, squares = data.nearest(centres)
    return _Run(centres, labels, [*costs, float(xp.sum(data.weighted(squares)))])


def _means(sums: Array, counts: Array, centres: Array, origin: Array) -> Array:
    """Mean of each cluster; an empty cluster keeps its centre."""
    xp = namespace(sums)
    counts = xp.expand_dims(counts, axis=1)
    return xp.where(counts > 0, origin + sums / xp.where(counts > 0, counts, 1.0), centres)


def _movement(centres: Array, moved: Array) -> Array:
    return namespace(centres).sum((moved - centres) ** 2)


def _fill_empty(data: _Data, centres: Array, sums: Array, counts: Array, empty: np.ndarray) -> tuple[Array, Array]:
    """Move the examples farthest from their centres to the empty clusters; return the new sums and counts."""
    xp, n_clusters = data.backend.xp, centres.shape[0]
    labels, squares = kernels.nearest_centres(data.x, centres, data.origin)
    costs = data.backend.to_numpy(data.weighted(squares))
    farthest = np.argsort(-costs, kind="stable")[: empty.size]
    farthest = farthest[costs[farthest] > 0.0]  # an example on its own centre cannot lower the cost
    examples, clusters = data.backend.asarray(farthest), data.backend.asarray(empty[: farthest.size])
    after, before = (
        kernels.one_hot(cluster, n_clusters, sums.dtype) for cluster in (clusters, xp.take(labels, examples))
    )
    members, moved = counts, xp.sum(after - before, axis=0)
    if data.weights is not None:
        # Differences of weights leave rounding where a cluster lost all its examples: count these as integers.
        positive = xp.astype(data.weights > 0, sums.dtype)
        members = kernels.cluster_sums(data.x, centres, data.origin, positive)[1]
        weights = xp.expand_dims(xp.take(data.weights, examples), axis=1)
        after, before = after * weights, before * weights
    rows = xp.take(data.x, examples, axis=0) - data.origin
    counts = xp.where(members + moved > 0, counts + xp.sum(after - before, axis=0), 0.0)
    return sums + xp.matmul(xp.matrix_transpose(after - before), rows), counts
