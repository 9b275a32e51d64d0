"""Checks and conversions of the arguments of metrics."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from portanet.backends import PORTABLE, as_arrays, describe, namespace
from portanet.checks import check_count, isdtype, optional
from portanet.typing import Array

Metric = TypeVar("Metric", bound=Callable[..., Any])


def takes_arrays(*names: str, may_be_empty: bool = False) -> Callable[[Metric], Metric]:
    """
    Return a decorator of metrics: lists, data frames and other host data become arrays.

    ``names`` are those of the arguments, the first ones. Empty arrays are refused unless they are allowed.
    """

    def decorate(metric: Metric) -> Metric:
        @wraps(metric)
        def converted(*args: Any, **options: Any) -> Any:
            first = args[: len(names)]
            if len(first) == len(names) and all(
                [type(a) is np.ndarray and a.size and a.dtype in PORTABLE for a in first]
            ):
                return metric(*args, **options)  # as in a training step
            given = dict(zip(names, args, strict=False)) | {name: options[name] for name in names if name in options}
            arrays = dict(zip(given, as_arrays(**given), strict=True))
            for name, array in arrays.items():
                if isdtype(namespace(array), array.dtype, "complex floating"):
                    raise ValueError(f"{name} has dtype {array.dtype}: give real numbers, such as their real parts")
                if 0 in array.shape and not may_be_empty:
                    raise ValueError(f"{name} is empty, of shape {tuple(array.shape)}: give examples")
            positional = [arrays.pop(name) for name, _ in zip(names, args, strict=False)]
            return metric(*positional, *args[len(names) :], **{**options, **arrays})

        return converted  # type: ignore[return-value]  # of the same signature

    return decorate


def class_indices(name: str, values: Array) -> Array:
    """Class indices (N,) from indices, scores, probabilities or one-hot rows."""
    return _indices(name, values) if values.ndim == 1 else _argmax(name, values)


def _argmax(name: str, scores: Array) -> Array:
    if scores.ndim == 0 or scores.shape[-1] < 2:
        raise ValueError(
            f"{name} must be class indices (N,) or scores (N, C) with C of 2 or more, got {tuple(scores.shape)}: "
            f"use binary_accuracy for single outputs"
        )
    xp = namespace(scores)
    largest = xp.argmax(scores, axis=-1)
    if not isdtype(xp, scores.dtype, "real floating"):
        return largest
    return xp.where(xp.isnan(xp.max(scores, axis=-1)), -1, largest)  # NaN is no class


def _indices(name: str, values: Array) -> Array:
    if not namespace(values).isdtype(values.dtype, "integral"):
        raise ValueError(f"{name} must be integers where it holds class indices, got dtype {values.dtype}")
    return values


def class_index_pair(first: tuple[str, Array], second: tuple[str, Array]) -> tuple[Array, Array]:
    """
    Class indices of two named arrays, of one shape.

    An array with one axis less than the other holds class indices. Of two arrays with the same number of axes, both
    hold class indices if this number is 1, else scores or one-hot rows.
    """
    check_same_device(first, second)
    (name, a), (other, b) = first, second
    ndim = max(1, min(a.ndim, b.ndim))
    if a.ndim == b.ndim > 1:
        ndim -= 1
    if a.shape[:ndim] != b.shape[:ndim] or max(a.ndim, b.ndim) > ndim + 1:
        raise ValueError(f"the shapes of {name} {tuple(a.shape)} and {other} {tuple(b.shape)} do not fit together")
    indices, others = (_indices(name, v) if v.ndim == ndim else _argmax(name, v) for name, v in (first, second))
    return indices, others


def are_scores_and_labels(first: tuple[str, Array], second: tuple[str, Array]) -> bool:
    """Whether two named arrays are the scores of the classes, and a class index for each row of them."""
    check_same_device(first, second)
    (_, scores), (_, labels) = first, second
    if scores.ndim < 2 or scores.shape[:-1] != labels.shape or scores.shape[-1] < 2:
        return False
    xp = namespace(scores)
    return bool(xp.isdtype(scores.dtype, "real floating") and xp.isdtype(labels.dtype, "integral"))


def cluster_classes(labels: Array, target: Array) -> Array:
    """Return the class of each example, after a check that labels hold its cluster."""
    check_same_device(("labels", labels), ("target", target))
    xp, classes = namespace(labels), class_indices("target", target)
    if labels.ndim != 1 or labels.shape != classes.shape:
        needed = f"a cluster for each of {classes.shape[0]} examples of target"
        raise ValueError(f"labels must hold {needed}, got shape {tuple(labels.shape)}")
    if not isdtype(xp, labels.dtype, "integral"):
        raise ValueError(f"labels must be integers, got dtype {labels.dtype}")
    if (low := index_range(classes)[0]) < 0:
        fix = "NaN is no class" if target.ndim > 1 else "number the classes from 0 on"
        raise ValueError(f"target must hold classes of at least 0, got {low}: {fix}")
    return classes


def index_range(indices: Array) -> tuple[int, int]:
    """Return the smallest and the largest index, on the host."""
    xp = namespace(indices)
    return (int(xp.min(indices)), int(xp.max(indices))) if math.prod(indices.shape) else (0, -1)


def float64_pair(first: tuple[str, Array], second: tuple[str, Array]) -> tuple[Array, Array]:
    """
    Return a named prediction and target as float64, after a check of shapes and devices.

    Of two arrays of int64, the first target is subtracted, which no difference of a prediction and a target depends on:
    float64 rounds integers above 2**53.
    """
    check_same_shape(first, second)
    (_, prediction), (_, target) = first, second
    xp = namespace(prediction)
    if prediction.dtype == target.dtype == xp.int64:
        origin = target[:1, ...] if target.ndim else target
        return float64_difference(prediction, origin), float64_difference(target, origin)
    return xp.astype(prediction, xp.float64, copy=False), xp.astype(target, xp.float64, copy=False)


def float64_difference(a: Array, b: Array) -> Array:
    """
    Return ``a - b`` in float64, rounded once, for two arrays of int64: their upper and lower 32 bits are subtracted.

    Examples
    --------
    >>> float64_difference(np.asarray([2**63 - 1, 2**60 + 1]), np.asarray([-(2**63), 2**60]))
    array([1.84467441e+19, 1.00000000e+00])
    """
    xp = namespace(a)
    (upper, lower), (upper_b, lower_b) = (
        (xp.astype(v >> 32, xp.float64), xp.astype(v & 0xFFFFFFFF, xp.float64)) for v in (a, b)
    )
    return (upper - upper_b) * 2.0**32 + (lower - lower_b)


def power_of_two(x: Array) -> Array:
    """
    Return a power of two near each number of at least 0, and 1 for 0; a division by it rounds nothing.

    Numbers that are divided by that of the largest one have squares that neither overflow nor vanish.

    Examples
    --------
    >>> power_of_two(np.asarray([0.0, 0.3, 5.0]))
    array([1.  , 0.25, 4.  ])
    """
    xp = namespace(x)
    return 2.0 ** xp.minimum(xp.floor(xp.log2(xp.where(x > 0, x, 1.0))), 1023.0)  # rounding may give 1024


def as_floats(values: Array) -> Array:
    """Return floats unchanged, and other dtypes as float64, in which differences of unsigned integers do not wrap."""
    xp = namespace(values)
    return values if xp.isdtype(values.dtype, "real floating") else xp.astype(values, xp.float64)


def check_same_shape(first: tuple[str, Array], second: tuple[str, Array]) -> None:
    """Refuse two named arrays of different shapes or devices."""
    check_same_device(first, second)
    (name, a), (other, b) = first, second
    if a.shape != b.shape:
        raise ValueError(f"{other} must have the shape of {name}, {tuple(a.shape)}, got {tuple(b.shape)}")


def check_same_device(first: tuple[str, Array], second: tuple[str, Array]) -> None:
    """Refuse two named arrays of different libraries or devices."""
    (name, a), (other, b) = first, second
    if namespace(a) is not namespace(b) or a.device != b.device:
        raise ValueError(f"{other} is on {describe(b)} but {name} is on {describe(a)}: move one of them")


def mean_of(hits: Array, counted: Array | None = None) -> Array:
    """Return the share of True, among those that are counted if that is given; 0 where none is."""
    xp = namespace(hits)
    if counted is None:
        return xp.mean(xp.astype(hits, xp.float32))
    n = xp.sum(xp.astype(counted, xp.int64))
    return xp.astype(xp.sum(xp.astype(hits & counted, xp.int64)), xp.float32) / xp.astype(xp.maximum(n, 1), xp.float32)


def labels_that_count(labels: Array, ignore_index: int | None) -> Array | None:
    """Return which class indices are not ``ignore_index``, or None without it."""
    ignored = optional(check_count)("ignore_index", ignore_index, at_least=-(2**31))
    xp = namespace(labels)
    return None if ignored is None else xp.astype(labels, xp.int64) != ignored  # -100 is no uint8
