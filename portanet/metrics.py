"""
Metrics: how well a network does, in numbers for people.

All are computed on the device of their arrays, and stay there. Predictions are scores or probabilities of classes,
shape (N, C), or class indices (N,); targets are class indices, or one-hot rows.
"""

import math

from portanet import kernels
from portanet.backends import namespace
from portanet.kernels.distances import distance_blocks
from portanet.typing import Array

__all__ = [
    "accuracy",
    "binary_accuracy",
    "cluster_purity",
    "confusion_matrix",
    "majority_labels",
    "mean_absolute_error",
    "mean_squared_error",
    "neighbourhood_hit",
    "precision_recall_f1",
    "psnr",
    "r2_score",
    "top_k_accuracy",
]


def class_indices(values: Array) -> Array:
    """
    Class indices: of one axis as they are; of scores, probabilities or one-hot rows the place of the largest.

    Parameters
    ----------
    values : array, shape (N,) or (N, C)
        Indices, or scores.

    Returns
    -------
    array of int, shape (N,)

    Raises
    ------
    ValueError
        If indices are no integers, or the scores are of fewer than 2 classes.

    Examples
    --------
    >>> class_indices(np.asarray([[0.1, 0.9], [0.8, 0.2]]))
    array([1, 0])
    """
    xp = namespace(values)
    if values.ndim != 1:
        if values.ndim == 0 or values.shape[-1] < 2:
            raise ValueError(
                f"classes must be indices (N,) or scores (N, C) with C of 2 or more, got {tuple(values.shape)}: "
                f"binary_accuracy judges single outputs"
            )
        return xp.argmax(values, axis=-1)
    if not xp.isdtype(values.dtype, "integral"):
        raise ValueError(f"class indices must be integers, got dtype {values.dtype}")
    return values


def accuracy(prediction: Array, target: Array) -> Array:
    """
    Share of examples whose class is predicted right.

    Parameters
    ----------
    prediction : array, shape (N, C) or (N,)
        Scores, or class indices.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows.

    Returns
    -------
    array, shape ()
        In [0, 1], on the device.

    Examples
    --------
    >>> accuracy(np.asarray([[0.1, 0.9], [0.8, 0.2]]), np.asarray([1, 1]))
    np.float32(0.5)
    """
    predicted, true = _both(prediction, target)
    return _share(predicted == true)


def binary_accuracy(prediction: Array, target: Array, threshold: float = 0.5) -> Array:
    """
    Share of numbers on the right side of a threshold, for outputs that are each a yes or a no.

    Parameters
    ----------
    prediction, target : array of float, same shape
        Compared number by number.
    threshold : float
        Between no and yes, for both.

    Examples
    --------
    >>> binary_accuracy(np.asarray([[0.2, 0.9]]), np.asarray([[0.0, 0.0]]))
    np.float32(0.5)
    """
    if prediction.shape != target.shape:
        raise ValueError(f"target must have the shape of prediction, {prediction.shape}, got {target.shape}")
    return _share((prediction > threshold) == (target > threshold))


def top_k_accuracy(prediction: Array, target: Array, k: int = 5) -> Array:
    """
    Share of examples whose class is among the ``k`` best scores; of equal scores, the first classes are the best.

    Parameters
    ----------
    prediction : array of float, shape (N, C)
        Scores; an example whose class has the score NaN is a miss.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows.
    k : int
        From 1 to C.

    Examples
    --------
    >>> scores = np.asarray([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k_accuracy(scores, np.asarray([1, 2]), k=2)
    np.float32(0.5)
    """
    xp, n_classes = namespace(prediction), prediction.shape[-1]
    if not 1 <= k <= n_classes:
        raise ValueError(f"k must be from 1 to the number of classes, {n_classes}, got {k}")
    _, true = _both(prediction, target)
    right = kernels.one_hot(true, n_classes, xp.bool)
    score = xp.sum(xp.where(right, prediction, 0.0), axis=-1, keepdims=True)
    before = xp.arange(n_classes, device=prediction.device) < xp.expand_dims(true, axis=-1)
    ahead = (prediction > score) | ((prediction == score) & before)
    hits = xp.sum(xp.astype(ahead, xp.int32), axis=-1) < k
    return _share(hits & (score[..., 0] == score[..., 0]))


def confusion_matrix(prediction: Array, target: Array, n_classes: int | None = None) -> Array:
    """
    How many examples of each class (row) were taken for each class (column).

    Parameters
    ----------
    prediction : array, shape (N, C) or (N,)
        Scores, or class indices.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows.
    n_classes : int, optional
        C; needed only where both are indices.

    Returns
    -------
    array of int64, shape (C, C)

    Examples
    --------
    >>> confusion_matrix(np.asarray([0, 1, 1]), np.asarray([0, 0, 1]), n_classes=2)
    array([[1, 1],
           [0, 1]])
    """
    xp = namespace(prediction)
    if n_classes is None:
        scores = next((a for a in (prediction, target) if a.ndim > 1), None)
        if scores is None:
            raise ValueError("n_classes must be given where prediction and target are class indices")
        n_classes = int(scores.shape[-1])
    # A matrix product of one-hot rows counts without a scatter; float32 counts exactly up to 16.7 million a cell.
    predicted, true = _both(prediction, target)
    rows = kernels.one_hot(true, n_classes, xp.float32)
    columns = kernels.one_hot(predicted, n_classes, xp.float32)
    return xp.astype(xp.matmul(xp.matrix_transpose(rows), columns), xp.int64)


def precision_recall_f1(prediction: Array, target: Array, n_classes: int | None = None) -> tuple[Array, Array, Array]:
    """
    Precision, recall and F1 of each class; 0 where a class was never predicted, or is not there.

    Parameters
    ----------
    prediction, target, n_classes
        See :func:`confusion_matrix`.

    Returns
    -------
    precision, recall, f1 : array of float32, shape (C,)
        The share of right ones among those taken for the class; among those of the class; the harmonic mean of both.

    Examples
    --------
    >>> precision, recall, f1 = precision_recall_f1(np.asarray([0, 1, 1]), np.asarray([0, 0, 1]), n_classes=2)
    >>> precision, recall
    (array([1. , 0.5], dtype=float32), array([0.5, 1. ], dtype=float32))
    """
    xp = namespace(prediction)
    counts = xp.astype(confusion_matrix(prediction, target, n_classes), xp.float32)
    right = xp.linalg.diagonal(counts)
    predicted, true = xp.sum(counts, axis=0), xp.sum(counts, axis=1)
    return (
        right / xp.maximum(predicted, 1.0),
        right / xp.maximum(true, 1.0),
        2.0 * right / xp.maximum(predicted + true, 1.0),
    )


def majority_labels(labels: Array, target: Array, n_clusters: int) -> Array:
    """
    Class that most examples of each cluster have; the lowest on a tie, and -1 for an empty cluster.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Cluster of each example, below ``n_clusters``.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows. The number of classes is read back from indices.
    n_clusters : int
        K.

    Returns
    -------
    array of int, shape (K,)

    Examples
    --------
    >>> majority_labels(np.asarray([0, 0, 0, 2]), np.asarray([4, 4, 1, 0]), n_clusters=3)
    array([ 4, -1,  0])
    """
    xp, classes = namespace(labels), class_indices(target)
    n_classes = target.shape[-1] if target.ndim > 1 else int(xp.max(classes)) + 1
    counts = confusion_matrix(labels, classes, max(n_clusters, n_classes))[:, :n_clusters]
    return xp.where(xp.max(counts, axis=0) > 0, xp.argmax(counts, axis=0), -1)


def cluster_purity(labels: Array, target: Array) -> Array:
    """
    Share of examples that have the majority class of their cluster [1]_.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Cluster of each example. The number of clusters is read back.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows.

    Returns
    -------
    array, shape ()
        In (0, 1], on the device. It grows with the number of clusters: compare only at equal numbers.

    Raises
    ------
    ValueError
        If a label is negative, or larger than there can be clusters.

    References
    ----------
    .. [1] C. D. Manning, P. Raghavan, H. Schütze, Introduction to Information Retrieval, Cambridge University Press,
       2008, section 16.3.

    Examples
    --------
    >>> cluster_purity(np.asarray([0, 0, 0, 1]), np.asarray([4, 4, 1, 0]))
    np.float32(0.75)
    """
    xp, n = namespace(labels), labels.shape[0]
    low, high = (int(xp.min(labels)), int(xp.max(labels))) if n else (0, 0)
    if low < 0 or high >= max(n, 1):
        raise ValueError(f"labels must count the clusters of {n} examples from 0 on, got numbers from {low} to {high}")
    majority = majority_labels(labels, target, high + 1)
    return _share(xp.take(majority, labels) == class_indices(target))


def neighbourhood_hit(x: Array, target: Array, k: int) -> Array:
    """
    Share of the ``k`` nearest neighbours of an example that are of its class, averaged over all examples [1]_.

    It tells how well classes are separated in a space: of pixels, of a layer's outputs, of a projection to a plane.

    Parameters
    ----------
    x : array of float, shape (N, D)
        Examples. Distances are Euclidean and computed in float64, N of them for 256 examples at a time.
    target : array, shape (N,) or (N, C)
        Class indices, or one-hot rows.
    k : int
        From 1 to N - 1. Of neighbours at the same distance, the first ones count.

    Returns
    -------
    array, shape ()
        In [0, 1], on the device.

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
    xp, n, classes = namespace(x), x.shape[0], class_indices(target)
    if classes.shape[0] != n:
        raise ValueError(f"target holds {classes.shape[0]} examples and x {n}: give as many")
    if not 1 <= k < n:
        raise ValueError(f"k must be from 1 to {n - 1}, one less than the examples, got {k}")
    index, start = xp.arange(n, device=x.device), 0
    hits = xp.zeros((), dtype=xp.float64, device=x.device)
    for rows, squares in distance_blocks(x, x, xp.sum(x, axis=0, dtype=xp.float64) / n):
        nearest = own = index[start : start + rows.shape[0]]
        left = squares
        for _ in range(k):  # a sort would take longer than a few searches
            left = xp.where(index == xp.expand_dims(nearest, axis=1), math.inf, left)
            nearest = xp.argmin(left, axis=1)
            hits += xp.sum(xp.astype(xp.take(classes, nearest) == xp.take(classes, own), xp.float64))
        start += rows.shape[0]
    return xp.astype(hits / (n * k), xp.float32)


def psnr(x: Array, y: Array, peak: float = 1.0) -> Array:
    """
    Peak signal-to-noise ratio ``10 log10(peak² / mean((x - y)²))`` of all numbers, in decibels.

    Parameters
    ----------
    x, y : array of float, same shape
        Images.
    peak : float
        The largest value that a pixel can have.

    Returns
    -------
    array, shape ()
        On the device; infinite for equal images.

    Examples
    --------
    >>> psnr(np.zeros((2, 2)), np.full((2, 2), 0.1)).round(6)
    np.float64(20.0)
    """
    if x.shape != y.shape:
        raise ValueError(f"y must have the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}")
    xp = namespace(x)
    error = xp.mean((x - y) ** 2) / peak**2
    return xp.where(error > 0, -10.0 * xp.log10(xp.where(error > 0, error, 1.0)), math.inf)


def _both(prediction: Array, target: Array) -> tuple[Array, Array]:
    """Class indices of both, as many of one as of the other."""
    predicted, true = class_indices(prediction), class_indices(target)
    if predicted.shape != true.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} do not fit together")
    return predicted, true


def _share(hits: Array) -> Array:
    xp = namespace(hits)
    return xp.mean(xp.astype(hits, xp.float32))


def mean_squared_error(prediction: Array, target: Array) -> Array:
    """Placeholder until the merge."""
    return namespace(prediction).mean((prediction - target) ** 2)


def mean_absolute_error(prediction: Array, target: Array) -> Array:
    """Placeholder until the merge."""
    return namespace(prediction).mean(namespace(prediction).abs(prediction - target))


def r2_score(prediction: Array, target: Array) -> Array:
    """Placeholder until the merge."""
    return 1.0 - mean_squared_error(prediction, target)
