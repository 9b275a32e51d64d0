"""Metrics of predicted classes."""

import math

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import check_count, check_number
from portanet.metrics.arguments import (
    are_scores_and_labels,
    as_floats,
    check_same_shape,
    class_index_pair,
    index_range,
    labels_that_count,
    mean_of,
    takes_arrays,
)
from portanet.typing import Array

__all__ = [
    "accuracy",
    "binary_accuracy",
    "confusion_matrix",
    "perplexity",
    "precision_recall_f1",
    "roc_auc_score",
    "top_k_accuracy",
]

MAX_CLASSES = 2**15
"""Largest side of a confusion matrix: its int64 and float32 numbers then take 12 GiB."""


@takes_arrays("prediction", "target")
def accuracy(prediction: Array, target: Array, *, ignore_index: int | None = None) -> Array:
    """
    Share of examples whose class is predicted correctly.

    Parameters
    ----------
    prediction : array, shape (N, C) or (N,)
        Scores or class indices. For sequences, scores (N, L, C).
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L).
    ignore_index : int, optional
        Label of examples that do not count, as in :class:`portanet.CrossEntropyLoss`; without it, a label that is no
        class is a miss. A Trainer passes on that of its loss, and keeps all predictions of an epoch (``needs_all``).

    Returns
    -------
    array, shape ()
        In [0, 1], on the device; 0 if no example counts.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not fit.

    Examples
    --------
    >>> accuracy(np.asarray([[0.1, 0.9], [0.8, 0.2]]), np.asarray([1, 1]))
    np.float32(0.5)
    """
    named = ("prediction", prediction), ("target", target)
    if ignore_index is None and are_scores_and_labels(*named):
        return kernels.accuracy(prediction, target)
    predicted, true = class_index_pair(*named)
    return mean_of(predicted == true, labels_that_count(true, ignore_index))


@takes_arrays("prediction", "target")
def binary_accuracy(prediction: Array, target: Array, *, threshold: float = 0.5) -> Array:
    """
    Share of elements whose yes or no is predicted correctly.

    Parameters
    ----------
    prediction : array, any shape
        Yes above ``threshold``; NaN is a miss.
    target : array, same shape
        Yes above 0.5: labels 0 and 1, or -1 and 1.
    threshold : float
        Threshold of the prediction, such as 0 for logits.

    Returns
    -------
    array of float32, shape ()
        In [0, 1], on the device.

    Examples
    --------
    >>> binary_accuracy(np.asarray([[0.2, 0.9]]), np.asarray([[0.0, 0.0]]))
    np.float32(0.5)
    """
    threshold = check_number("threshold", threshold)
    check_same_shape(("prediction", prediction), ("target", target))
    p = as_floats(prediction)
    return mean_of(((p > threshold) == (as_floats(target) > 0.5)) & ~namespace(p).isnan(p))


@takes_arrays("prediction", "target")
def top_k_accuracy(prediction: Array, target: Array, *, k: int = 5, ignore_index: int | None = None) -> Array:
    """
    Share of examples whose class has one of the ``k`` highest scores.

    Parameters
    ----------
    prediction : array, shape (N, C)
        Scores. Of equal scores, the first class ranks higher. NaN, and a class beyond C, are misses. For sequences,
        scores (N, L, C).
    target : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L).
    k : int
        From 1 to C.
    ignore_index : int, optional
        See :func:`accuracy`.

    Returns
    -------
    array of float32, shape ()
        In [0, 1], on the device.

    Examples
    --------
    >>> scores = np.asarray([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k_accuracy(scores, np.asarray([1, 2]), k=2)
    np.float32(0.5)
    """
    if prediction.ndim < 2:
        raise ValueError(f"prediction must be scores of shape (N, C), got {tuple(prediction.shape)}")
    xp, n_classes = namespace(prediction), prediction.shape[-1]
    if check_count("k", k) > n_classes:
        raise ValueError(f"k must be from 1 to the number of classes, {n_classes}, got {k}")
    _, true = class_index_pair(("prediction", prediction), ("target", target))
    scores = as_floats(prediction)
    score = xp.sum(xp.where(kernels.one_hot(true, n_classes, xp.bool), scores, 0.0), axis=-1, keepdims=True)
    before = xp.arange(n_classes, device=prediction.device) < xp.expand_dims(true, axis=-1)
    ahead = (scores > score) | ((scores == score) & before)
    hits = xp.sum(xp.astype(ahead, xp.int32), axis=-1) < k
    known = (true >= 0) & (true < n_classes)
    return mean_of(hits & known & (score[..., 0] == score[..., 0]), labels_that_count(true, ignore_index))


@takes_arrays("prediction", "target")
def perplexity(prediction: Array, target: Array, *, ignore_index: int | None = None) -> Array:
    """
    ``exp`` of the mean cross-entropy: n for a network to which n classes are equally probable.

    A Trainer keeps all predictions of an epoch for it (``needs_all``). ``exp`` of the cross-entropy in the history is
    the same number, and needs no memory.

    Parameters
    ----------
    prediction : array, shape (N, ..., C)
        Logits.
    target : array of int, shape (N, ...)
        Class indices.
    ignore_index : int, optional
        Label of examples that do not count.

    Returns
    -------
    array, shape ()
        From 1 on: 1 if no example counts, infinite if a label that counts is no class.

    Examples
    --------
    >>> perplexity(np.zeros((3, 10)), np.asarray([0, 4, 7])).round(6)
    np.float64(10.0)
    """
    if prediction.ndim < 2:
        raise ValueError(f"prediction must be logits of shape (N, ..., C), got {tuple(prediction.shape)}")
    xp = namespace(prediction)
    _, true = class_index_pair(("prediction", prediction), ("target", target))
    losses, _ = kernels.sparse_softmax_cross_entropy(as_floats(prediction), true)
    counted = labels_that_count(true, ignore_index)
    counted = xp.ones_like(true, dtype=xp.bool) if counted is None else counted
    n = xp.sum(xp.astype(counted, losses.dtype))
    n = xp.where(n > 0, n, xp.ones_like(n))
    loss = xp.sum(xp.where(counted, losses / n, 0.0))
    no_class = xp.any(counted & ((true < 0) | (true >= prediction.shape[-1])))
    most = math.log(xp.finfo(losses.dtype).max) - 1e-4
    return xp.where((loss > most) | no_class, math.inf, xp.exp(xp.clip(loss, None, most)))  # without an overflow


perplexity.needs_all = True  # type: ignore[attr-defined]


@takes_arrays("y_true", "y_score")
def roc_auc_score(*, y_true: Array, y_score: Array) -> Array:
    """
    Area under the ROC curve: how often a positive example scores higher than a negative one [1]_.

    Equal scores count half, so the area is exact. Of several outputs, the mean of their areas is taken, each class
    against the rest; one that has no positive or no negative example is left out.

    The arguments are keyword-only, because metrics for training take the prediction first. A Trainer adapts this one.

    Parameters
    ----------
    y_true : array, shape (N,) or (N, C)
        Yes above 0.5: labels 0 and 1, -1 and 1, or one-hot rows. For two or more columns also class indices (N,); one
        that is no class is a negative example of all.
    y_score : array, shape (N,) or (N, C)
        Scores, logits or probabilities; only their order counts. For sequences, (N, L, C).

    Returns
    -------
    array of float64, shape ()
        In [0, 1], on the device; NaN if a score is NaN, or if all examples are positive or all negative.

    Notes
    -----
    It needs all predictions (``needs_all``): its mean over batches is another number.

    References
    ----------
    .. [1] J. A. Hanley, B. J. McNeil, The meaning and use of the area under a receiver operating characteristic curve,
       Radiology 143, 1982.

    Examples
    --------
    >>> float(roc_auc_score(y_true=np.asarray([0, 0, 1, 1]), y_score=np.asarray([0.1, 0.4, 0.35, 0.8])))
    0.75
    """
    xp, shape = namespace(y_score), y_score.shape
    if y_score.ndim == y_true.ndim + 1 and shape[-1] > 1:
        _, labels = class_index_pair(("y_score", y_score), ("y_true", y_true))
        positive = kernels.one_hot(labels, shape[-1], xp.bool)
    else:
        y_true = xp.expand_dims(y_true, axis=-1) if y_score.ndim == y_true.ndim + 1 else y_true
        check_same_shape(("y_score", y_score), ("y_true", y_true))
        positive = as_floats(y_true) > 0.5
    n_outputs = shape[-1] if y_score.ndim > 1 else 1
    scores, positive = (xp.reshape(values, (-1, n_outputs)) for values in (as_floats(y_score), positive))
    areas = xp.stack([_area(xp.asarray(scores[:, i], copy=True), positive[:, i]) for i in range(n_outputs)])
    defined = xp.isfinite(areas) | xp.any(xp.isnan(scores), axis=0)
    n_defined = xp.sum(xp.astype(defined, xp.float64))
    area = xp.sum(xp.where(defined, areas, 0.0)) / xp.maximum(n_defined, 1.0)
    return xp.where(n_defined > 0, area, math.nan)


def _area(scores: Array, positive: Array) -> Array:
    """Area of one output, from the ranks of the positive examples; NaN if it is not defined."""
    xp, order = namespace(scores), namespace(scores).sort(scores)
    below, up_to = (xp.searchsorted(order, scores, side=side) for side in ("left", "right"))
    p = xp.astype(positive, xp.float64)
    ranks = xp.sum(p * xp.astype(below + up_to + 1, xp.float64)) / 2.0  # of equal scores the mean, exact in float64
    n = xp.sum(p)
    pairs = n * (scores.shape[0] - n)
    area = (ranks - n * (n + 1.0) / 2.0) / xp.maximum(pairs, 1.0)
    return xp.where((pairs > 0) & ~xp.any(xp.isnan(scores)), area, math.nan)


roc_auc_score.needs_all = True  # type: ignore[attr-defined]


@takes_arrays("y_true", "y_pred", may_be_empty=True)
def confusion_matrix(*, y_true: Array, y_pred: Array, n_classes: int | None = None) -> Array:
    """
    Count the examples of each true class (row) and predicted class (column).

    The arguments are keyword-only, because metrics for training take the prediction first. Labels are checked, which
    copies from the device to the host: do not use it inside a training step.

    Parameters
    ----------
    y_true : array, shape (N,) or (N, C)
        Class indices or one-hot rows. For sequences, class indices (N, L). Leave out labels that do not count, such as
        the ``ignore_index`` of a loss: -100 is refused, and a label in ``[0, C)`` is counted.
    y_pred : array, shape (N,) or (N, C)
        Class indices or scores. For sequences, scores (N, L, C).
    n_classes : int, optional
        C, at most 32768; by default the number of columns, and for two arrays of class indices 1 + the largest.

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
    n_classes = None if n_classes is None else check_count("n_classes", n_classes)
    xp = namespace(y_true)
    true, predicted = class_index_pair(("y_true", y_true), ("y_pred", y_pred))
    ranges = {"y_true": index_range(true), "y_pred": index_range(predicted)}
    if n_classes is None:
        columns = [values.shape[-1] for values in (y_true, y_pred) if values.ndim > true.ndim]
        n_classes = max(columns) if columns else 1 + max(high for _, high in ranges.values())
    if n_classes > MAX_CLASSES:
        fix = "number the classes of y_true and y_pred from 0 on"
        raise ValueError(f"n_classes must be at most {MAX_CLASSES}, got {n_classes}: {fix}")
    for name, (low, high) in ranges.items():
        if low < 0 or high >= n_classes:
            raise ValueError(f"{name} must be in [0, n_classes) = [0, {n_classes}), got {low if low < 0 else high}")
    # The product of one-hot rows counts without a scatter. Counts in float32 are exact up to 2**24.
    dtype = xp.float32 if math.prod(true.shape) <= 2**24 else xp.float64
    rows, columns = (kernels.one_hot(xp.reshape(indices, (-1,)), n_classes, dtype) for indices in (true, predicted))
    return xp.astype(xp.matmul(xp.matrix_transpose(rows), columns), xp.int64)


@takes_arrays("y_true", "y_pred", may_be_empty=True)
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
