"""Normalization to mean 0 and variance 1, of which BatchNorm, GroupNorm and LayerNorm are cases."""

import math
from typing import Any

from portanet.backends import namespace
from portanet.kernels.bias import bias_grad
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def normalize(  # noqa: PLR0917 (positional, like the overrides)
    x: Array,
    axes: tuple[int, ...],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    statistics: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """
    Return ``y = weight (x - mean) / √(variance + eps) + bias``, the mean and the variance.

    Parameters
    ----------
    x : array of float, shape (N, S, G, C)
        Examples, positions, groups, and the channels of a group.
    axes : tuple of int
        Axes of the mean and the variance: (0, 1, 3) for BatchNorm, where each channel is a group, (1, 3) for GroupNorm,
        (3,) for LayerNorm, where all channels are one group. Backends may compute others more slowly.
    weight, bias : array of G C numbers in any shape, optional
        One number for each channel.
    eps : float
        Added to the variance.
    statistics : tuple of two arrays, optional
        Use this mean and variance; by default those of x.

    Returns
    -------
    y : array, shape of x
    mean, variance : array
        Of the shape of x, but 1 along ``axes``.

    Examples
    --------
    >>> x = np.asarray([[1.0, 10.0], [3.0, 30.0]]).reshape(2, 1, 2, 1)
    >>> y, mean, variance = normalize(x, (0, 1, 3), None, None, 0.0)
    >>> y.ravel(), mean.ravel(), variance.ravel()
    (array([-1., -1.,  1.,  1.]), array([ 2., 20.]), array([  1., 100.]))
    """
    xp = namespace(x)
    if statistics is None:
        mean = _mean(xp, x, axes)
        centred = x - mean
        variance = _mean(xp, centred * centred, axes)
    else:
        mean, variance = statistics
        centred = x - mean
    y = centred * _factor(xp, variance, weight, x, eps)
    if bias is not None:
        y += xp.reshape(bias, x.shape[2:])
    return y, mean, variance


@kernel
def normalize_gradient(  # noqa: PLR0917
    dy: Array, x: Array, axes: tuple[int, ...], mean: Array, variance: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """
    Return dx, dweight and dbias of :func:`normalize` without given statistics.

    With ``z = (x - mean) / √(variance + eps)`` and ``dz = weight dy``: ``dweight = Σ z dy``, ``dbias = Σ dy``, and
    ``dx = (dz - mean(dz) - z mean(z dz)) / √(variance + eps)``.

    Parameters
    ----------
    dy : array, shape of x
        Gradient of y.
    x, axes, mean, variance, weight, eps
        Arguments and results of :func:`normalize`.

    Examples
    --------
    >>> x, dy = (np.asarray(values).reshape(3, 1, 1, 1) for values in ([1.0, 3.0, 5.0], [0.0, 3.0, 0.0]))
    >>> dx, dweight, dbias = normalize_gradient(dy, x, (0, 1, 3), np.full((), 3.0), np.full((), 4.0), None, 0.0)
    >>> dx.ravel(), dweight, dbias
    (array([-0.5,  1. , -0.5]), array([0.]), array([3.]))
    """
    xp = namespace(x)
    scale = _factor(xp, variance, None, x, eps)
    z = (x - mean) * scale
    channels = (*x.shape[:2], math.prod(x.shape[2:]))
    dweight, dbias = bias_grad(xp.reshape(dy * z, channels)), bias_grad(xp.reshape(dy, channels))
    dz = dy if weight is None else dy * xp.reshape(weight, x.shape[2:])
    dx = scale * (dz - _mean(xp, dz, axes) - z * _mean(xp, dz * z, axes))
    return dx, dweight, dbias


def _mean(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    """
    Return the mean over some axes, which are kept.

    One axis after the other keeps sums short: NumPy adds rows one by one, and in float32 the mean of 10⁵ rows would be
    right to three digits only. It is also several times as fast. The mean of no numbers is 0 here, without a warning.
    """
    for axis in axes:
        x = (xp.mean if x.shape[axis] else xp.sum)(x, axis=axis, keepdims=True)
    return x


def _factor(xp: Any, variance: Array, weight: Array | None, x: Array, eps: float) -> Array:
    """Return ``weight / √(variance + eps)``; NaN where the variance overflowed, since ``1 / √∞`` would hide it."""
    variance = variance + eps
    scale = xp.sqrt(variance) / variance
    return scale if weight is None else scale * xp.reshape(weight, x.shape[2:])
