"""Metrics of clusters, and of how well classes are separated in a space."""

import math

from portanet.backends import namespace
from portanet.checks import check_count
from portanet.kernels import squared_distances
from portanet.kernels.distances import blocks
from portanet.metrics.arguments import (
    as_floats,
    check_same_device,
    class_indices,
    cluster_classes,
    float64_difference,
    index_range,
    mean_of,
    power_of_two,
    takes_arrays,
)
from portanet.metrics.classification import MAX_CLASSES, confusion_matrix
from portanet.typing import Array

__all__ = [
    "cluster_purity",
    "majority_labels",
    "neighbourhood_hit",
]


@takes_arrays("labels", "target", may_be_empty=True)
def majority_labels(labels: Array, target: Array, n_clusters: int) -> Array:
    """
    Most frequent class of each cluster; the lowest on a tie, -1 for an empty cluster.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Cluster of each example, in ``[0, n_clusters)``.
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. Labels and indices are checked, which copies from the device to the host.
    n_clusters : int
        K.

    Returns
    -------
    array of int, shape (K,)

    Raises
    ------
    ValueError
        If a label is not in ``[0, K)``, an index is negative, or shapes or devices do not fit.

    Examples
    --------
    >>> majority_labels(np.asarray([0, 0, 0, 2]), np.asarray([4, 4, 1, 0]), n_clusters=3)
    array([ 4, -1,  0])
    """
    n_clusters = check_count("n_clusters", n_clusters)
    xp, classes = namespace(labels), cluster_classes(labels, target)
    low, high = index_range(labels)
    if low < 0 or high >= n_clusters:
        raise ValueError(f"labels must be in [0, n_clusters) = [0, {n_clusters}), got {low if low < 0 else high}")
    n_classes = target.shape[-1] if target.ndim > 1 else index_range(classes)[1] + 1
    if (n := max(n_clusters, n_classes)) > MAX_CLASSES:
        found = f"got {n_clusters} clusters and {n_classes} classes"
        raise ValueError(f"n_clusters and the number of classes must be at most {MAX_CLASSES}, {found}")
    counts = confusion_matrix(y_true=classes, y_pred=labels, n_classes=n)[:, :n_clusters]
    return xp.where(xp.max(counts, axis=0) > 0, xp.argmax(counts, axis=0), -1)


@takes_arrays("labels", "target")
def cluster_purity(labels: Array, target: Array) -> Array:
    """
    Share of examples that have the majority class of their cluster [1]_.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Cluster of each example, in ``[0, N)``.
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. Labels and indices are checked, which copies from the device to the host.

    Returns
    -------
    array, shape ()
        In (0, 1], on the device. It grows with the number of clusters: compare only results of the same number.

    Raises
    ------
    ValueError
        If a label is not in ``[0, N)``, an index is negative, or shapes or devices do not fit.

    References
    ----------
    .. [1] C. D. Manning, P. Raghavan, H. Schütze, Introduction to Information Retrieval, Cambridge University Press,
       2008, section 16.3.

    Examples
    --------
    >>> cluster_purity(np.asarray([0, 0, 0, 1]), np.asarray([4, 4, 1, 0]))
    np.float32(0.75)
    """
    xp, classes = namespace(labels), cluster_classes(labels, target)
    n = labels.shape[0]
    low, high = index_range(labels)
    if low < 0 or high >= n:
        raise ValueError(f"labels must be in [0, {n}) for {n} examples, got {low if low < 0 else high}")
    majority = majority_labels(labels, target, high + 1)
    return mean_of(xp.take(majority, labels) == classes)


@takes_arrays("x", "target")
def neighbourhood_hit(x: Array, target: Array, k: int) -> Array:
    """
    Share of an example's ``k`` nearest neighbours that have its class, averaged over all examples [1]_.

    It measures how well classes are separated in a space: pixels, outputs of a layer, a projection to the plane.

    Parameters
    ----------
    x : array of float, shape (N, D)
        Examples. Distances are Euclidean, computed in float64 for 256 examples or more at a time.
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows.
    k : int
        From 1 to N - 1. Of neighbours at the same distance, the first ones count.

    Returns
    -------
    array, shape ()
        In [0, 1], on the device; NaN if x holds NaN or infinity.

    References
    ----------
    .. [1] F. V. Paulovich, L. G. Nonato, R. Minghim, H. Levkowitz, Least square projection: a fast high-precision
       multidimensional projection technique and its application to document mapping, IEEE Transactions on
       Visualization and Computer Graphics 14, 2008.

    Examples
    --------
    >>> neighbourhood_hit(np.asarray([[0.0], [1.0], [5.0], [7.0]]), np.asarray([0, 0, 1, 0]), k=1)
    np.float32(0.5)
    """
    check_same_device(("x", x), ("target", target))
    xp, classes = namespace(x), class_indices("target", target)
    if x.ndim != 2:
        raise ValueError(f"x must have shape (N, D), N examples of D numbers, got {tuple(x.shape)}")
    n = x.shape[0]
    if classes.shape != (n,):
        raise ValueError(f"target must have a class for each of the {n} examples of x, got {tuple(target.shape)}")
    if check_count("k", k) >= n:
        raise ValueError(f"k must be from 1 to {n - 1}, the number of other examples, got {k}")
    finite = xp.isfinite(as_floats(x))  # to refuse other numbers would copy from the device to the host
    index, points = xp.arange(n, device=x.device), _standardised(xp.where(finite, x, xp.zeros_like(x)))
    hits = xp.where(xp.all(finite), xp.zeros((), dtype=xp.float64, device=x.device), math.nan)
    for rows in blocks(points, x.shape[1] + 4 * n):
        remaining = squared_distances(points[rows, ...], points)
        nearest = own = index[rows]
        for _ in range(k):  # a sort would take longer than a few searches
            remaining = xp.where(index == xp.expand_dims(nearest, axis=1), math.inf, remaining)
            nearest = xp.argmin(remaining, axis=1)
            hits += xp.sum(xp.astype(xp.take(classes, nearest) == xp.take(classes, own), xp.float64))
    return xp.astype(hits / (n * k), xp.float32)


def _standardised(x: Array) -> Array:
    """Return rows in float64, shifted to mean 0 and divided by about their largest number, with the same neighbours."""
    xp = namespace(x)
    if x.dtype == xp.int64:  # float64 rounds integers above 2**53
        x = float64_difference(x, x[:1, ...])
    x = 0.5 * xp.astype(x, xp.float64)  # halves, so that no difference overflows
    x = x - x[:1, ...]
    x = x / power_of_two(xp.max(xp.abs(x)))
    return x - xp.mean(x, axis=0)
