"""Normalisation: mean 0 and variance 1 over some of the numbers, then a scale and a shift that are learned."""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from portanet import kernels
from portanet.backends import namespace
from portanet.initializers import ones, zeros
from portanet.kernels.windows import per_axis
from portanet.layers.base import Layer, batch, check_input
from portanet.parameters import Buffer, Parameter
from portanet.typing import Array, Pullback, Shape


class _Norm(Layer):
    """What all have in common: the affine map of the channels, and the gradient of standardising."""

    def __init__(self, channels: int, eps: float, affine: bool):
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}")
        self.channels, self.eps = channels, eps
        self.weight = Parameter((channels,), ones) if affine else None
        self.bias = Parameter((channels,), zeros) if affine else None

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.channels)

    def _affine(self, z: Array, pull_z: Callable[[Array], Array]) -> tuple[Array, Pullback]:
        """Scale and shift the standardised z; ``pull_z`` carries dz back to dx."""
        weight, bias = self.weight, self.bias
        if weight is None or bias is None:
            return z, lambda dy, *, need_dx=True, need_grads=True: pull_z(dy) if need_dx else None
        w = weight.data
        check_input(z, w)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                weight.accumulate_channel_sum(dy * z)
                bias.accumulate_channel_sum(dy)
            return pull_z(dy * w) if need_dx else None

        return z * w + bias.data, pullback


def mean_over(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    """
    Mean over some axes, which are kept.

    One axis after the other, so that no sum is long: NumPy adds rows one by one, and in float32 the mean of 10⁵ of them
    is good to three digits. It is also several times as fast.
    """
    for axis in axes:
        x = xp.mean(x, axis=axis, keepdims=True)
    return x


def standardise(xp: Any, x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Callable[[Array], Array]]:
    """
    Subtract the mean over some axes and divide by the standard deviation.

    Returns
    -------
    z : array
    pull_z : callable
        Carries dz back to dx.
    """
    centred = x - mean_over(xp, x, axes)
    scale = 1.0 / xp.sqrt(mean_over(xp, centred * centred, axes) + eps)
    z = centred * scale

    def pull_z(dz: Array) -> Array:
        return scale * (dz - mean_over(xp, dz, axes) - z * mean_over(xp, dz * z, axes))

    return z, pull_z


class BatchNorm(_Norm):
    """
    Standardise each channel over the batch (and space), for inputs (N, ..., C) of any rank [1]_.

    In training the statistics are those of the batch; inference uses running means of them.

    Parameters
    ----------
    channels : int
        C.
    momentum : float
        Share of the running statistics that is kept at each step.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn a scale and a shift for each channel.

    Attributes
    ----------
    running_mean, running_var : Buffer, shape (C,)
        Statistics for inference, saved with the network; the variance is the unbiased one.

    References
    ----------
    .. [1] S. Ioffe, C. Szegedy, Batch normalization, ICML 2015, algorithms 1 and 2.

    Examples
    --------
    >>> layer = BatchNorm(2).initialize(dtype="float64")
    >>> y, pullback = layer.vjp(np.asarray([[1.0, 10.0], [3.0, 30.0]]))
    >>> y.round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    """

    def __init__(self, channels: int, *, momentum: float = 0.9, eps: float = 1e-5, affine: bool = True):
        super().__init__(channels, eps, affine)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.momentum = momentum
        self.running_mean = Buffer(lambda rng: np.zeros(channels))
        self.running_var = Buffer(lambda rng: np.ones(channels))

    def by_example(self, train: bool) -> bool:
        return not train

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, mean, variance = namespace(x), self.running_mean.data, self.running_var.data
        self.output_shape(x.shape[1:])
        check_input(x, mean)
        if not train:
            scale = 1.0 / xp.sqrt(variance + self.eps)
            return self._affine((x - mean) * scale, lambda dz: dz * scale)
        n = math.prod(x.shape[:-1])
        if n < 2:
            raise ValueError(f"BatchNorm needs more than one value a channel to train on, got x of shape {x.shape}")
        weight, bias, rows = self.weight, self.bias, tuple(range(x.ndim - 1))
        batch_mean = mean_over(xp, x, rows)
        centred = x - batch_mean
        batch_variance = xp.reshape(mean_over(xp, centred * centred, rows), (-1,))
        mean += (1 - self.momentum) * (xp.reshape(batch_mean, (-1,)) - mean)
        variance += (1 - self.momentum) * (batch_variance * (n / (n - 1)) - variance)
        scale = 1.0 / xp.sqrt(batch_variance + self.eps)
        factor = scale if weight is None else scale * weight.data
        y = centred * factor
        if bias is not None:
            kernels.bias_add(y, bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            total, along = kernels.bias_grad(dy), scale * kernels.bias_grad(dy * centred)
            if need_grads and weight is not None and bias is not None:
                weight.accumulate(along)
                bias.accumulate(total)
            return factor * (dy - total / n - centred * (scale * along / n)) if need_dx else None

        return y, pullback


class LayerNorm(_Norm):
    """
    Standardise each vector of channels, the last axis of (N, ..., C) [1]_.

    Parameters
    ----------
    channels : int
        C.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn a scale and a shift for each channel.

    References
    ----------
    .. [1] J. L. Ba et al., Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> LayerNorm(2)(np.asarray([[1.0, 3.0], [10.0, 30.0]], dtype="float32")).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, affine: bool = True):
        super().__init__(channels, eps, affine)

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        self.output_shape(x.shape[1:])
        z, pull_z = standardise(xp, x, (-1,), self.eps)
        return self._affine(z, pull_z)


class GroupNorm(_Norm):
    """
    Standardise groups of channels of each example, over space and the group [1]_.

    Parameters
    ----------
    groups : int
        How many; they divide the channels.
    channels : int
        C, the last axis.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn a scale and a shift for each channel.

    References
    ----------
    .. [1] Y. Wu, K. He, Group normalization, ECCV 2018.

    Examples
    --------
    >>> GroupNorm(2, 4)(np.asarray([[1.0, 3.0, 10.0, 30.0]], dtype="float32")).round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5, affine: bool = True):
        super().__init__(channels, eps, affine)
        if groups < 1 or channels % groups:
            raise ValueError(f"groups must divide channels={channels}, got {groups}")
        self.groups = groups

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        self.output_shape(x.shape[1:])
        dealt = (x.shape[0], math.prod(x.shape[1:-1]), self.groups, self.channels // self.groups)
        z, pull_z = standardise(xp, xp.reshape(x, dealt), (1, 3), self.eps)
        return self._affine(xp.reshape(z, x.shape), lambda dz: xp.reshape(pull_z(xp.reshape(dz, dealt)), x.shape))


class Normalize(Layer):
    """
    Subtract the mean and divide by the standard deviation of the training data, remembered as states.

    As the first layer of a network it is saved with it, so that inputs never need preparing elsewhere.

    Parameters
    ----------
    channels : int
        Length of the last axis; each channel has its own statistics.

    Attributes
    ----------
    mean, std : Buffer, shape (channels,)
        0 and 1 until :meth:`adapt` is called.

    Examples
    --------
    >>> layer = Normalize(1).adapt(np.asarray([[1.0], [3.0]]))
    >>> layer(np.asarray([[1.0], [2.0], [5.0]], dtype="float32")).ravel()
    array([-1.,  0.,  3.], dtype=float32)
    """

    def __init__(self, channels: int):
        (self.channels,) = per_axis("channels", channels, 1)
        self.mean = Buffer(lambda rng: np.zeros(channels))
        self.std = Buffer(lambda rng: np.ones(channels))

    def adapt(self, x: Any) -> Self:
        """
        Take mean and standard deviation of data; a channel that is constant is divided by 1.

        :meth:`initialize` forgets them, as all that the network has learned; ``to`` and ``Trainer`` keep them.

        Parameters
        ----------
        x : array_like, shape (N, ..., channels)
            The training data.
        """
        x = self.asarray(x)
        check_input(x, self.mean.data)
        xp, rows = namespace(x), tuple(range(x.ndim - 1))
        self.output_shape(tuple(x.shape[1:]))
        if x.shape[0] == 0 or not bool(xp.all(xp.isfinite(x))):
            raise ValueError("x must hold examples without NaN or infinity: remove or replace these values")
        exact = xp.astype(x, xp.float64)  # float32 sums of many rows are good to three digits only
        varies = xp.max(x, axis=rows) > xp.min(x, axis=rows)  # rounding leaves a constant channel a tiny std
        self.mean.data[...] = xp.astype(xp.mean(exact, axis=rows), x.dtype)
        self.std.data[...] = xp.where(varies, xp.astype(xp.std(exact, axis=rows), x.dtype), 1.0)
        return self

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.channels)

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        mean, std = self.mean.data, self.std.data
        self.output_shape(tuple(x.shape[1:]))
        check_input(x, mean)
        return (x - mean) / std, lambda dy, *, need_dx=True, need_grads=True: dy / std if need_dx else None


def check_channels(layer: Layer, shape: Shape, channels: int) -> Shape:
    """Return the shape of an input, without the batch axis, if it ends in these channels."""
    if not shape or shape[-1] != channels:
        raise ValueError(f"{layer!r} needs x of shape (N, ..., {channels}), got {batch(shape)}")
    return shape
