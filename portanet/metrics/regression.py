"""Metrics of predicted numbers and images."""

import math

from portanet.backends import namespace
from portanet.checks import check_number
from portanet.metrics.arguments import float64_pair, power_of_two, takes_arrays
from portanet.typing import Array

__all__ = [
    "mean_absolute_error",
    "mean_squared_error",
    "psnr",
    "r2_score",
]


@takes_arrays("prediction", "target")
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
    p, t = float64_pair(("prediction", prediction), ("target", target))
    return namespace(p).mean((p - t) ** 2)


@takes_arrays("prediction", "target")
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
    p, t = float64_pair(("prediction", prediction), ("target", target))
    xp = namespace(p)
    return xp.mean(xp.abs(p - t))


@takes_arrays("y_true", "y_pred")
def r2_score(*, y_true: Array, y_pred: Array) -> Array:
    """
    Coefficient of determination ``1 - Σ (t - p)² / Σ (t - mean(t))²``, averaged over outputs.

    The arguments are keyword-only, because metrics for training take the prediction first. A Trainer adapts this one.

    Parameters
    ----------
    y_true, y_pred : array, shape (N,) or (N, ...)
        Targets t and predictions p of N examples. An output with a constant target scores 1 if it is predicted exactly,
        else 0.

    Returns
    -------
    array of float64, shape ()
        At most 1, on the device; NaN for fewer than 2 examples. Computed in float64, in two passes.

    Notes
    -----
    It needs all predictions (``needs_all``): its mean over batches is another number.

    Examples
    --------
    >>> r2_score(y_true=np.asarray([1.0, 2.0, 3.0]), y_pred=np.asarray([1.0, 2.0, 4.0]))
    np.float64(0.5)
    """
    p, t = float64_pair(("y_pred", y_pred), ("y_true", y_true))
    if p.ndim == 0:
        raise ValueError("y_pred must hold one row an example, shape (N,) or (N, ...), got a single number")
    xp, n = namespace(p), p.shape[0]
    if n < 2:
        return xp.full((), math.nan, dtype=p.dtype, device=p.device)
    p, t = (0.5 * xp.reshape(values, (n, -1)) for values in (p, t))  # halves, so that no difference overflows
    p, t = p - t[:1, ...], t - t[:1, ...]
    largest = xp.max(xp.abs(t), axis=0)
    constant = largest == 0
    exact = constant & xp.all(p == t, axis=0)
    p, t = (values / power_of_two(largest) for values in (p, t))
    residual, total = xp.sum((t - p) ** 2, axis=0), xp.sum((t - xp.mean(t, axis=0)) ** 2, axis=0)
    scores = 1.0 - residual / xp.where(constant, 1.0, total)
    return xp.mean(xp.where(constant, xp.astype(exact, p.dtype), scores))


r2_score.needs_all = True  # type: ignore[attr-defined]


@takes_arrays("prediction", "target")
def psnr(prediction: Array, target: Array, *, data_range: float = 1.0) -> Array:
    """
    Peak signal-to-noise ratio ``10 log10(data_range² / mean((prediction - target)²))``, in decibels.

    Parameters
    ----------
    prediction, target : array, same shape
        Images.
    data_range : float
        Difference between the largest and the smallest possible value of a pixel.

    Returns
    -------
    array of float64, shape ()
        On the device; infinite for equal images. Computed in float64.

    Notes
    -----
    It needs all predictions (``needs_all``): its mean over batches is another number.

    Examples
    --------
    >>> psnr(np.zeros((2, 2)), np.full((2, 2), 0.1)).round(6)
    np.float64(20.0)
    """
    data_range = check_number("data_range", data_range, above=0)
    p, t = float64_pair(("prediction", prediction), ("target", target))
    xp = namespace(p)
    errors = xp.abs(0.5 * p - 0.5 * t)  # halves, so that no difference overflows
    equal, scale = xp.all(errors == 0), power_of_two(xp.max(errors))
    mean_square = xp.where(equal, 1.0, xp.mean((errors / scale) ** 2))
    decibels = 20.0 * (math.log10(data_range) - math.log10(2.0) - xp.log10(scale)) - 10.0 * xp.log10(mean_square)
    return xp.where(equal, math.inf, decibels)


psnr.needs_all = True  # type: ignore[attr-defined]
