"""Normalisation: subtract a mean, divide by a standard deviation, then scale and shift by learned numbers."""

import math
from collections.abc import Callable
from typing import Any, Self

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import check_count
from portanet.initializers import ones, zeros
from portanet.layers.base import Layer, batch, check_input, input_pullback
from portanet.parameters import Buffer, Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "Normalize"]


class _Norm(Layer):
    """What all have in common: ``y = w z + b`` for the normalised z, one w and b for each channel."""

    def __init__(self, channels: int, eps: float, affine: bool):
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}")
        self.eps = eps
        self.weight = Parameter((channels,), ones) if affine else None
        self.bias = Parameter((channels,), zeros) if affine else None

    @property
    def affine(self) -> bool:
        """Whether a scale and a shift are learned."""
        return self.weight is not None

    def _scaled(self, z: Array, dx: Callable[[Array], Array]) -> tuple[Array, Pullback]:
        """Return ``w z + b`` and its pullback, from the function that takes dz to dx."""
        weight, bias = self.weight, self.bias
        if weight is None or bias is None:
            return z, input_pullback(dx)
        w = weight.data
        check_input(z, w)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                weight.accumulate(kernels.bias_grad(dy * z))
                bias.accumulate(kernels.bias_grad(dy))
            return dx(dy * w) if need_dx else None

        return z * w + bias.data, pullback


def mean_over(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    """
    Return the mean over some axes, which are kept.

    One axis after the other keeps sums short: NumPy adds rows one by one, and in float32 the mean of 10⁵ rows would be
    right to three digits only. It is also several times as fast.
    """
    for axis in axes:
        x = xp.mean(x, axis=axis, keepdims=True)
    return x


def standardise(xp: Any, x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Callable[[Array], Array]]:
    """
    Return ``z = (x - mean) / √(variance + eps)`` over some axes, and the function that takes dz to dx.

    ``dx = (dz - mean(dz) - z mean(z dz)) / √(variance + eps)``
    """
    centred = x - mean_over(xp, x, axes)
    scale = 1.0 / xp.sqrt(mean_over(xp, centred * centred, axes) + eps)
    z = centred * scale

    def dx(dz: Array) -> Array:
        return scale * (dz - mean_over(xp, dz, axes) - z * mean_over(xp, dz * z, axes))

    return z, dx


class BatchNorm(_Norm):
    """
    ``y = w (x - mean) / √(variance + eps) + b`` for each channel of x (N, ..., C), any number of axes [1]_.

    In training, mean and variance are those of the batch, over all axes but the last; inference uses running
    averages. With ``z = (x - mean) / √(variance + eps)``: ``dw = Σ z dy``, ``db = Σ dy``,
    ``dx = w (dy - mean(dy) - z mean(z dy)) / √(variance + eps)``.

    Parameters
    ----------
    num_features : int
        C.
    momentum : float
        Weight of the batch in the running averages: ``running ← (1 - momentum) running + momentum batch``, as in
        PyTorch; Keras' momentum is one minus this.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn w and b.

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

    def __init__(self, num_features: int, *, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True):
        super().__init__(check_count("num_features", num_features), eps, affine)
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum}")
        self.momentum = momentum
        self.running_mean = Buffer((num_features,), zeros)
        self.running_var = Buffer((num_features,), ones)

    @property
    def num_features(self) -> int:
        """Length of the last axis."""
        return self.running_mean.shape[0]

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_features)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, mean, variance = namespace(x), self.running_mean.data, self.running_var.data
        self.output_shape(x.shape[1:])
        check_input(x, mean)
        if not train or self.frozen:
            scale = 1.0 / xp.sqrt(variance + self.eps)
            return self._scaled((x - mean) * scale, lambda dz: dz * scale)
        n = math.prod(x.shape[:-1])
        if n < 2:
            raise ValueError(f"BatchNorm needs more than one value a channel to train on, got x of shape {x.shape}")
        weight, bias, rows = self.weight, self.bias, tuple(range(x.ndim - 1))
        batch_mean = mean_over(xp, x, rows)
        centred = x - batch_mean
        batch_variance = xp.reshape(mean_over(xp, centred * centred, rows), (-1,))
        mean += self.momentum * (xp.reshape(batch_mean, (-1,)) - mean)
        variance += self.momentum * (batch_variance * (n / (n - 1)) - variance)
        scale = 1.0 / xp.sqrt(batch_variance + self.eps)
        factor = scale if weight is None else scale * weight.data
        y = centred * factor
        if bias is not None:
            kernels.bias_add(y, bias.data)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            db, dw = kernels.bias_grad(dy), scale * kernels.bias_grad(dy * centred)
            if need_grads and weight is not None and bias is not None:
                weight.accumulate(dw)
                bias.accumulate(db)
            return factor * (dy - db / n - centred * (scale * dw / n)) if need_dx else None

        return y, pullback


class LayerNorm(_Norm):
    """
    ``y = w z + b``, z the vector of channels of each position with mean 0 and variance 1: x (N, ..., C) [1]_.

    ``dw = Σ z dy``, ``db = Σ dy``; dx is that of :class:`BatchNorm` with means over the channels.

    Parameters
    ----------
    normalized_shape : int
        C, the last axis.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn w and b, shape (C,).

    References
    ----------
    .. [1] J. L. Ba et al., Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> LayerNorm(2)(np.asarray([[1.0, 3.0], [10.0, 30.0]], dtype="float32")).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(self, normalized_shape: int, *, eps: float = 1e-5, affine: bool = True):
        self.normalized_shape = check_count("normalized_shape", normalized_shape)
        super().__init__(normalized_shape, eps, affine)

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.normalized_shape)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        return self._scaled(*standardise(namespace(x), x, (-1,), self.eps))


class GroupNorm(_Norm):
    """
    ``y = w z + b``, z with mean 0 and variance 1 over each group of channels of an example: x (N, ..., C) [1]_.

    ``dw = Σ z dy``, ``db = Σ dy``; dx is that of :class:`BatchNorm` with means over positions and the group.

    Parameters
    ----------
    num_groups : int
        Number of groups; it divides num_channels.
    num_channels : int
        C, the last axis.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn w and b, shape (C,).

    References
    ----------
    .. [1] Y. Wu, K. He, Group normalization, ECCV 2018.

    Examples
    --------
    >>> GroupNorm(2, 4)(np.asarray([[1.0, 3.0, 10.0, 30.0]], dtype="float32")).round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(self, num_groups: int, num_channels: int, *, eps: float = 1e-5, affine: bool = True):
        self.num_groups = check_count("num_groups", num_groups)
        self.num_channels = check_count("num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups must divide num_channels={num_channels}, got {num_groups}")
        super().__init__(num_channels, eps, affine)

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_channels)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        self.output_shape(x.shape[1:])
        groups = (x.shape[0], math.prod(x.shape[1:-1]), self.num_groups, self.num_channels // self.num_groups)
        z, dx = standardise(xp, xp.reshape(x, groups), (1, 3), self.eps)
        return self._scaled(xp.reshape(z, x.shape), lambda dz: xp.reshape(dx(xp.reshape(dz, groups)), x.shape))


class Normalize(Layer):
    """
    ``y = (x - mean) / std`` with the statistics of the training data, which are saved with the network.

    As the first layer of a network it makes separate preparation of inputs unnecessary. ``dx = dy / std``.

    Parameters
    ----------
    num_features : int
        Length of the last axis; each channel has its own statistics.

    Attributes
    ----------
    mean, std : Buffer, shape (num_features,)
        0 and 1 until :meth:`adapt` is called.

    Examples
    --------
    >>> layer = Normalize(1).adapt(np.asarray([[1.0], [3.0]]))
    >>> layer(np.asarray([[1.0], [2.0], [5.0]], dtype="float32")).ravel()
    array([-1.,  0.,  3.], dtype=float32)
    """

    def __init__(self, num_features: int):
        self.mean = Buffer((check_count("num_features", num_features),), zeros)
        self.std = Buffer((num_features,), ones)

    @property
    def num_features(self) -> int:
        """Length of the last axis."""
        return self.mean.shape[0]

    def adapt(self, x: Any) -> Self:
        """
        Compute mean and standard deviation of data; a constant channel is divided by 1.

        :meth:`initialize` forgets them; ``to`` and ``Trainer`` keep them.

        Parameters
        ----------
        x : array_like, shape (N, ..., num_features)
            The training data.
        """
        x = self.asarray(x)
        check_input(x, self.mean.data)
        xp, rows = namespace(x), tuple(range(x.ndim - 1))
        self.output_shape(tuple(x.shape[1:]))
        if x.shape[0] == 0 or not bool(xp.all(xp.isfinite(x))):
            raise ValueError("x must hold examples without NaN or infinity: remove or replace these values")
        exact = xp.astype(x, xp.float64)  # float32 sums of many rows are right to three digits only
        varies = xp.max(x, axis=rows) > xp.min(x, axis=rows)  # rounding leaves a constant channel a tiny std
        self.mean.data[...] = xp.astype(xp.mean(exact, axis=rows), x.dtype)
        self.std.data[...] = xp.where(varies, xp.astype(xp.std(exact, axis=rows), x.dtype), 1.0)
        return self

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_features)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        mean, std = self.mean.data, self.std.data
        self.output_shape(tuple(x.shape[1:]))
        check_input(x, mean)
        return (x - mean) / std, input_pullback(lambda dy: dy / std)


def check_channels(layer: Layer, shape: Shape, channels: int) -> Shape:
    """Return the shape of an input, without the batch axis, if its last axis has this length."""
    if not shape or shape[-1] != channels:
        raise ValueError(f"{layer!r} needs x of shape (N, ..., {channels}), got {batch(shape)}")
    return shape
