"""
Metrics of predictions and clusters, computed on the device of their arrays.

Metrics for training take ``(prediction, target)`` and return an array of shape (), left on the device. The attribute
``needs_all = True`` marks a metric that is not the mean of its values over batches, such as :func:`r2_score`: it must
be called once with all predictions.
"""

import math

from portanet import kernels
from portanet.backends import describe, namespace
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


def accuracy(prediction: Array, target: Array) -> Array:
    """
    Share of examples whose class is predicted correctly.

    Parameters
    ----------
    prediction : array, shape (N, C) or (N,)
        Scores or class indices. For sequences, scores (N, L, C).
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L).

    Returns
    -------
    array, shape ()
        In [0, 1], on the device.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not fit.

    Examples
    --------
    >>> accuracy(np.asarray([[0.1, 0.9], [0.8, 0.2]]), np.asarray([1, 1]))
    np.float32(0.5)
    """
    predicted, true = _class_index_pair(("prediction", prediction), ("target", target))
    return _mean(predicted == true)


def binary_accuracy(prediction: Array, target: Array, *, threshold: float = 0.5) -> Array:
    """
    Share of elements whose yes or no is predicted correctly.

    Parameters
    ----------
    prediction : array, any shape
        Yes above ``threshold``.
    target : array, same shape
        Yes above 0.5: labels 0 and 1, or -1 and 1.
    threshold : float
        Threshold of the prediction, such as 0 for logits.

    Examples
    --------
    >>> binary_accuracy(np.asarray([[0.2, 0.9]]), np.asarray([[0.0, 0.0]]))
    np.float32(0.5)
    """
    _check_pair(("prediction", prediction), ("target", target))
    return _mean((_floats(prediction) > threshold) == (_floats(target) > 0.5))


def top_k_accuracy(prediction: Array, target: Array, *, k: int = 5) -> Array:
    """
    Share of examples whose class has one of the ``k`` highest scores.

    Parameters
    ----------
    prediction : array, shape (N, C)
        Scores. Of equal scores, the first class ranks higher. NaN counts as a miss. For sequences, scores (N, L, C).
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L).
    k : int
        From 1 to C.

    Examples
    --------
    >>> scores = np.asarray([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k_accuracy(scores, np.asarray([1, 2]), k=2)
    np.float32(0.5)
    """
    if prediction.ndim < 2:
        raise ValueError(f"prediction must be scores of shape (N, C), got {tuple(prediction.shape)}")
    xp, n_classes = namespace(prediction), prediction.shape[-1]
    if not 1 <= k <= n_classes:
        raise ValueError(f"k must be from 1 to the number of classes, {n_classes}, got {k}")
    _, true = _class_index_pair(("prediction", prediction), ("target", target))
    scores = _floats(prediction)
    score = xp.sum(xp.where(kernels.one_hot(true, n_classes, xp.bool), scores, 0.0), axis=-1, keepdims=True)
    before = xp.arange(n_classes, device=prediction.device) < xp.expand_dims(true, axis=-1)
    ahead = (scores > score) | ((scores == score) & before)
    hits = xp.sum(xp.astype(ahead, xp.int32), axis=-1) < k
    return _mean(hits & (score[..., 0] == score[..., 0]))


def confusion_matrix(*, y_true: Array, y_pred: Array, n_classes: int | None = None) -> Array:
    """
    Count the examples of each true class (row) and predicted class (column).

    The arguments are keyword-only, because metrics for training take the prediction first. Labels are checked, which
    copies from the device to the host: do not use it inside a training step.

    Parameters
    ----------
    y_true : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L).
    y_pred : array, shape (N,) or (N, C)
        Class indices or scores. For sequences, scores (N, L, C).
    n_classes : int, optional
        C; by default the number of columns, and for two arrays of class indices 1 + the largest.

    Returns
    -------
    array of int64, shape (C, C)

    Raises
    ------
    ValueError
        If a label is not in ``[0, C)``, or shapes, dtypes or devices do not fit.

    Examples
    --------
    >>> confusion_matrix(y_true=np.asarray([0, 0, 1]), y_pred=np.asarray([0, 1, 1]))
    array([[1, 1],
           [0, 1]])
    """
    xp = namespace(y_true)
    true, predicted = _class_index_pair(("y_true", y_true), ("y_pred", y_pred))
    ranges = {"y_true": _range(true), "y_pred": _range(predicted)}
    if n_classes is None:
        columns = [values.shape[-1] for values in (y_true, y_pred) if values.ndim > true.ndim]
        n_classes = max(columns) if columns else 1 + max(high for _, high in ranges.values())
    for name, (low, high) in ranges.items():
        if low < 0 or high >= n_classes:
            raise ValueError(f"{name} must be in [0, n_classes) = [0, {n_classes}), got {low if low < 0 else high}")
    # The product of one-hot rows counts without a scatter. Counts in float32 are exact up to 2**24.
    rows, columns = (
        kernels.one_hot(xp.reshape(indices, (-1,)), n_classes, xp.float32) for indices in (true, predicted)
    )
    return xp.astype(xp.matmul(xp.matrix_transpose(rows), columns), xp.int64)


def precision_recall_f1(*, y_true: Array, y_pred: Array, n_classes: int | None = None) -> tuple[Array, Array, Array]:
    """
    Precision, recall and F1 score of each class.

    Parameters
    ----------
    y_true, y_pred, n_classes
        See :func:`confusion_matrix`.

    Returns
    -------
    precision, recall, f1 : array of float32, shape (C,)
        Share of correct examples among those predicted as the class; among those of the class; harmonic mean of both.
        0 where the denominator is 0.

    Examples
    --------
    >>> precision, recall, f1 = precision_recall_f1(y_true=np.asarray([0, 0, 1]), y_pred=np.asarray([0, 1, 1]))
    >>> precision, recall
    (array([1. , 0.5], dtype=float32), array([0.5, 1. ], dtype=float32))
    """
    xp = namespace(y_true)
    counts = xp.astype(confusion_matrix(y_true=y_true, y_pred=y_pred, n_classes=n_classes), xp.float32)
    correct = xp.linalg.diagonal(counts)
    predicted, true = xp.sum(counts, axis=0), xp.sum(counts, axis=1)
    return (
        correct / xp.maximum(predicted, 1.0),
        correct / xp.maximum(true, 1.0),
        2.0 * correct / xp.maximum(predicted + true, 1.0),
    )


def mean_squared_error(prediction: Array, target: Array) -> Array:
    """
    Mean of ``(prediction - target)²`` over all elements, computed in float64.

    Parameters
    ----------
    prediction, target : array, same shape

    Returns
    -------
    array of float64, shape ()
        On the device.

    Examples
    --------
    >>> mean_squared_error(np.asarray([1.0, 3.0]), np.asarray([1.0, 1.0]))
    np.float64(2.0)
    """
    p, t = _float64_pair(prediction, target)
    return namespace(p).mean((p - t) ** 2)


def mean_absolute_error(prediction: Array, target: Array) -> Array:
    """
    Mean of ``|prediction - target|`` over all elements, computed in float64.

    Parameters
    ----------
    prediction, target : array, same shape

    Returns
    -------
    array of float64, shape ()
        On the device.

    Examples
    --------
    >>> mean_absolute_error(np.asarray([1.0, 3.0]), np.asarray([1.0, 1.0]))
    np.float64(1.0)
    """
    p, t = _float64_pair(prediction, target)
    xp = namespace(p)
    return xp.mean(xp.abs(p - t))


def r2_score(prediction: Array, target: Array) -> Array:
    """
    Coefficient of determination ``1 - Σ (t - p)² / Σ (t - mean(t))²``, averaged over outputs.

    Parameters
    ----------
    prediction, target : array, shape (N,) or (N, ...)
        N examples. An output with a constant target scores 1 if it is predicted exactly, else 0.

    Returns
    -------
    array of float64, shape ()
        At most 1, on the device; NaN for fewer than 2 examples. Computed in float64, in two passes.

    Notes
    -----
    It needs all predictions (``needs_all``): its mean over batches is another number.

    Examples
    --------
    >>> r2_score(np.asarray([1.0, 2.0, 4.0]), np.asarray([1.0, 2.0, 3.0]))
    np.float64(0.5)
    """
    p, t = _float64_pair(prediction, target)
    xp, n = namespace(p), p.shape[0]
    if n < 2:
        return xp.full((), math.nan, dtype=p.dtype, device=p.device)
    p, t = (xp.reshape(values, (n, -1)) for values in (p, t))
    residual = xp.sum((t - p) ** 2, axis=0)
    total = xp.sum((t - xp.mean(t, axis=0)) ** 2, axis=0)
    constant = xp.max(t, axis=0) == xp.min(t, axis=0)  # rounding of the mean may give a positive total
    scores = xp.where(
        constant, xp.astype(residual == 0, p.dtype), 1.0 - residual / xp.where(constant, xp.ones_like(total), total)
    )
    return xp.mean(scores)


r2_score.needs_all = True  # type: ignore[attr-defined]


def psnr(prediction: Array, target: Array, *, data_range: float = 1.0) -> Array:
    """
    Peak signal-to-noise ratio ``10 log10(data_range² / mean((prediction - target)²))``, in decibels.

    Parameters
    ----------
    prediction, target : array, same shape
        Images; integers are computed in float64.
    data_range : float
        Difference between the largest and the smallest possible value of a pixel.

    Returns
    -------
    array, shape ()
        On the device; infinite for equal images.

    Notes
    -----
    It needs all predictions (``needs_all``): its mean over batches is another number.

    Examples
    --------
    >>> psnr(np.zeros((2, 2)), np.full((2, 2), 0.1)).round(6)
    np.float64(20.0)
    """
    _check_pair(("prediction", prediction), ("target", target))
    xp = namespace(prediction)
    error = xp.mean((_floats(prediction) - _floats(target)) ** 2) / data_range**2
    return xp.where(error > 0, -10.0 * xp.log10(xp.where(error > 0, error, 1.0)), math.inf)


psnr.needs_all = True  # type: ignore[attr-defined]


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
    _check_device(("labels", labels), ("target", target))
    xp, classes = namespace(labels), _class_indices("target", target)
    if (shape := tuple(labels.shape)) != classes.shape:
        raise ValueError(f"labels must hold a cluster for each of {classes.shape[0]} examples, got shape {shape}")
    low, high = _range(labels)
    if low < 0 or high >= n_clusters:
        raise ValueError(f"labels must be in [0, n_clusters) = [0, {n_clusters}), got {low if low < 0 else high}")
    n_classes = target.shape[-1] if target.ndim > 1 else _range(classes)[1] + 1
    n = max(n_clusters, n_classes)
    counts = confusion_matrix(y_true=classes, y_pred=labels, n_classes=n)[:, :n_clusters]
    return xp.where(xp.max(counts, axis=0) > 0, xp.argmax(counts, axis=0), -1)


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
    _check_device(("labels", labels), ("target", target))
    xp, n = namespace(labels), labels.shape[0]
    low, high = _range(labels)
    if low < 0 or high >= n:
        raise ValueError(f"labels must be in [0, {n}) for {n} examples, got {low if low < 0 else high}")
    majority = majority_labels(labels, target, high + 1)
    return _mean(xp.take(majority, labels) == _class_indices("target", target))


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
    _check_device(("x", x), ("target", target))
    xp, n, classes = namespace(x), x.shape[0], _class_indices("target", target)
    if classes.shape != (n,):
        raise ValueError(f"target must have a class for each of the {n} examples of x, got {tuple(target.shape)}")
    if not 1 <= k < n:
        raise ValueError(f"k must be from 1 to {n - 1}, the number of other examples, got {k}")
    index, start = xp.arange(n, device=x.device), 0
    hits = xp.zeros((), dtype=xp.float64, device=x.device)
    for rows, distances in distance_blocks(x, x, xp.sum(x, axis=0, dtype=xp.float64) / n):
        remaining = distances
        nearest = own = index[start : start + rows.shape[0]]
        for _ in range(k):  # a sort would take longer than a few searches
            remaining = xp.where(index == xp.expand_dims(nearest, axis=1), math.inf, remaining)
            nearest = xp.argmin(remaining, axis=1)
            hits += xp.sum(xp.astype(xp.take(classes, nearest) == xp.take(classes, own), xp.float64))
        start += rows.shape[0]
    return xp.astype(hits / (n * k), xp.float32)


def _class_indices(name: str, values: Array) -> Array:
    """Class indices (N,) from indices, scores, probabilities or one-hot rows."""
    return _indices(name, values) if values.ndim == 1 else _argmax(name, values)


def _argmax(name: str, scores: Array) -> Array:
    if scores.ndim == 0 or scores.shape[-1] < 2:
        raise ValueError(
            f"{name} must be class indices (N,) or scores (N, C) with C of 2 or more, got {tuple(scores.shape)}: "
            f"use binary_accuracy for single outputs"
        )
    return namespace(scores).argmax(scores, axis=-1)


def _indices(name: str, values: Array) -> Array:
    if not namespace(values).isdtype(values.dtype, "integral"):
        raise ValueError(f"{name} must be integers where it holds class indices, got dtype {values.dtype}")
    return values


def _class_index_pair(first: tuple[str, Array], second: tuple[str, Array]) -> tuple[Array, Array]:
    """
    Class indices of two named arrays, of one shape.

    An array with one axis less than the other holds class indices. Of two arrays with the same number of axes, both
    hold class indices if this number is 1, else scores or one-hot rows.
    """
    _check_device(first, second)
    ndim = max(1, min(first[1].ndim, second[1].ndim))
    if first[1].ndim == second[1].ndim > 1:
        ndim -= 1
    a, b = (_indices(name, v) if v.ndim == ndim else _argmax(name, v) for name, v in (first, second))
    if a.shape != b.shape:
        shapes = " and ".join(f"{name} {tuple(values.shape)}" for name, values in (first, second))
        raise ValueError(f"the shapes of {shapes} do not fit together")
    return a, b


def _range(indices: Array) -> tuple[int, int]:
    """Return the smallest and the largest index, on the host."""
    xp = namespace(indices)
    return (int(xp.min(indices)), int(xp.max(indices))) if math.prod(indices.shape) else (0, -1)


def _float64_pair(prediction: Array, target: Array) -> tuple[Array, Array]:
    _check_pair(("prediction", prediction), ("target", target))
    xp = namespace(prediction)
    return xp.astype(prediction, xp.float64, copy=False), xp.astype(target, xp.float64, copy=False)


def _floats(values: Array) -> Array:
    """Return floats unchanged, and other dtypes as float64, in which differences of unsigned integers do not wrap."""
    xp = namespace(values)
    return values if xp.isdtype(values.dtype, "real floating") else xp.astype(values, xp.float64)


def _check_pair(first: tuple[str, Array], second: tuple[str, Array]) -> None:
    """Refuse two named arrays of different shapes or devices."""
    _check_device(first, second)
    (name, a), (other, b) = first, second
    if a.shape != b.shape:
        raise ValueError(f"{other} must have the shape of {name}, {tuple(a.shape)}, got {tuple(b.shape)}")


def _check_device(first: tuple[str, Array], second: tuple[str, Array]) -> None:
    """Refuse two named arrays of different libraries or devices."""
    (name, a), (other, b) = first, second
    if namespace(a) is not namespace(b) or a.device != b.device:
        raise ValueError(f"{other} is on {describe(b)} but {name} is on {describe(a)}: move one of them")


def _mean(hits: Array) -> Array:
    xp = namespace(hits)
    return xp.mean(xp.astype(hits, xp.float32))
