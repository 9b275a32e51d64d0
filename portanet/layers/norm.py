"""Normalization: subtract a mean, divide by a standard deviation, then scale and shift by learned numbers."""

import math
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, Fixed, check_count, check_flag, check_number, optional
from portanet.initializers import ones, zeros
from portanet.layers.base import Layer, batch, check_channels, check_floating, check_input
from portanet.layers.shard import Shard, current_shard
from portanet.parameters import Buffer, Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"]

MIN_EPS = 1e-30
"""Smaller ones may become 0 in float32."""


class _Norm(Layer):
    """Base of the layers ``y = w z + b`` for the normalized z, with one w and b for each channel."""

    eps = Checked(check_number, at_least=MIN_EPS)

    def __init__(self, shape: Shape, eps: float, trained: bool):
        self.eps = eps
        self.weight = Parameter(shape, ones) if trained else None
        self.bias = Parameter(shape, zeros) if trained else None

    def _normalized(
        self, x: Array, axes: tuple[int, ...], num_groups: int, n_axes: int = 1
    ) -> tuple[Array, Pullback, Array, Array]:
        """Return y, its pullback, the mean and the variance: those of :func:`portanet.kernels.normalize`."""
        xp, (w, b), grouped = namespace(x), self._affine(x), split_channels(x, num_groups, n_axes)
        y, mean, variance = kernels.normalize(grouped, axes, w, b, self.eps)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dy = split_channels(dy, num_groups, n_axes)
            dx, dw, db = kernels.normalize_gradient(dy, grouped, axes, mean, variance, w, self.eps)
            if need_grads and self.weight is not None and self.bias is not None:
                self.weight.accumulate(_in_shape(dw, self.weight.shape))
                self.bias.accumulate(_in_shape(db, self.bias.shape))
            return xp.reshape(dx, x.shape) if need_dx else None

        return xp.reshape(y, x.shape), pullback, mean, variance

    def _affine(self, x: Array) -> tuple[Array | None, Array | None]:
        """Return the data of w and b, for an input of their dtype and device."""
        if self.weight is None or self.bias is None:
            return None, None
        check_input(x, self.weight.data)
        return self.weight.data, self.bias.data


class _ChannelNorm(_Norm):
    """The layers whose w and b have shape (C,), and whose argument for these is ``affine``."""

    def __init__(self, n_channels: int, eps: float, affine: bool):
        super().__init__((n_channels,), eps, check_flag("affine", affine))

    @property
    def affine(self) -> bool:
        """Whether a scale and a shift are learned."""
        return self.weight is not None


class BatchNorm(_ChannelNorm):
    """
    ``y = w (x - mean) / √(variance + eps) + b`` for each channel of x (N, ..., C), any number of axes [1]_.

    In training, mean and variance are those of the batch, over all axes but the last; inference uses running
    averages. With ``z = (x - mean) / √(variance + eps)``: ``dw = Σ z dy``, ``db = Σ dy``,
    ``dx = w (dy - mean(dy) - z mean(z dy)) / √(variance + eps)``.

    Parameters
    ----------
    num_features : int, optional
        C; by default that of the first data.
    momentum : float or None
        Weight of the batch in the running averages: ``running ← (1 - momentum) running + momentum batch``, as in
        PyTorch; Keras' momentum is one minus this. With None, all batches so far have the same weight.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn w and b.

    Attributes
    ----------
    running_mean, running_var : Buffer, shape (C,)
        Statistics for inference, saved with the network; the variance is the unbiased one.
    num_batches_tracked : Buffer, int64, shape (), or None
        Number of batches in the running averages, saved with the network; only with ``momentum=None``.

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

    min_batch = 2
    momentum = Checked(optional(check_number), above=0, at_most=1)

    input_size_argument = "num_features"

    def __init__(
        self, num_features: int | None = None, *, momentum: float | None = 0.1, eps: float = 1e-5, affine: bool = True
    ):
        n_channels = check_count("num_features", num_features)
        super().__init__(n_channels, eps, affine)
        self.momentum = momentum
        self.running_mean = Buffer((n_channels,), zeros)
        self.running_var = Buffer((n_channels,), ones)
        self.num_batches_tracked = Buffer((), _no_batches) if momentum is None else None

    def _check_together(self) -> None:
        if (self.momentum is None) == (self.num_batches_tracked is None):
            raise ValueError(
                f"momentum cannot change between None and a number, got {self.momentum}: make a new BatchNorm"
            )

    @property
    def num_features(self) -> int:
        """Length of the last axis."""
        return self.running_mean.shape[0]

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_features)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        check_input(x, self.running_mean.data)
        if not train or self.frozen:
            return self._inference_vjp(x)
        shard = current_shard()
        if shard is not None and shard.sync_batch_norm:
            return self._vjp_of_shard(x, shard)
        n = math.prod(x.shape[:-1])
        if n < 2:
            raise ValueError(f"BatchNorm needs more than one value a channel to train on, got x of shape {x.shape}")
        y, pullback, *statistics = self._normalized(x, (0, 1, 3), self.num_features)
        mean, variance = (namespace(x).reshape(a, (-1,)) for a in statistics)
        self._track(mean, variance, n)
        return y, pullback

    def _track(self, mean: Array, variance: Array, n: int | Array) -> None:
        """Take the statistics of a batch of n values a channel into the running averages."""
        running_mean, running_var = self.running_mean.data, self.running_var.data
        share = self._next_share(mean.dtype)
        running_mean += share * (mean - running_mean)
        running_var += share * (variance * (n / (n - 1)) - running_var)

    def _vjp_of_shard(self, x: Array, shard: Shard) -> tuple[Array, Pullback]:
        """
        Return output and pullback where other processes hold the other examples of the batch.

        Their sums are added: those of x and of ``(x - mean)²`` for the statistics, and those of dw and db for dx.
        """
        xp, (w, b), shape = namespace(x), self._affine(x), (1, 1, self.num_features, 1)
        n_here, n = (math.prod((rows, *x.shape[1:-1])) for rows in (x.shape[0], shard.n_total))
        if n < 2:
            raise ValueError(f"BatchNorm needs more than one value a channel to train on, got a batch of {n}")
        grouped, weight_here = split_channels(x, self.num_features), n_here * float(shard.has_examples)
        _, *statistics = kernels.normalize(grouped, (0, 1, 3), None, None, self.eps)
        mean_here, variance_here = (xp.reshape(a, (-1,)) for a in statistics)
        mean = shard.all_reduce_sum(mean_here * weight_here) / n
        variance = shard.all_reduce_sum((variance_here + (mean_here - mean) ** 2) * weight_here) / n
        y, *_ = kernels.normalize(
            grouped, (0, 1, 3), w, b, self.eps, (xp.reshape(mean, shape), xp.reshape(variance, shape))
        )
        self._track(mean, variance, n)
        scale = 1.0 / xp.sqrt(variance + self.eps)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            z = (x - mean) * scale
            dw, db = kernels.bias_grad(z * dy), kernels.bias_grad(dy)
            if need_grads and self.weight is not None and self.bias is not None:
                self.weight.accumulate(dw)
                self.bias.accumulate(db)
            sums = shard.all_reduce_sum(xp.stack([dw, db])) / n  # also without need_dx: every process takes part
            factor = (scale if w is None else scale * w) * float(shard.has_examples)
            return factor * (dy - sums[1, :] - z * sums[0, :]) if need_dx else None

        return xp.reshape(y, x.shape), pullback

    def _next_share(self, dtype: Any) -> Array:
        """Return the weight of a further batch in the running averages."""
        if self.num_batches_tracked is None:
            return self.momentum
        count = self.num_batches_tracked.data
        count += 1
        return 1.0 / namespace(count).astype(count, dtype)

    def _inference_vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Use the running averages: ``dx = w dy / √(variance + eps)``."""
        xp, (w, b), shape = namespace(x), self._affine(x), (1, 1, self.num_features, 1)
        mean, variance = self.running_mean.data, self.running_var.data
        statistics = xp.reshape(mean, shape), xp.reshape(variance, shape)
        y, *_ = kernels.normalize(split_channels(x, self.num_features), (0, 1, 3), w, b, self.eps, statistics)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            scale = 1.0 / xp.sqrt(variance + self.eps)
            if need_grads and self.weight is not None and self.bias is not None:
                self.weight.accumulate(kernels.bias_grad(dy * ((x - mean) * scale)))
                self.bias.accumulate(kernels.bias_grad(dy))
            return dy * (scale if w is None else scale * w) if need_dx else None

        return xp.reshape(y, x.shape), pullback


def _no_batches(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(shape, "int64")


def _check_normalized_shape(name: str, value: Any) -> int | Shape:
    """Return C, or a tuple of several lengths; a tuple of one number, as PyTorch takes it, is that number."""
    if isinstance(value, (tuple, list)) and len(value) > 1:
        return tuple(check_count(name, n) for n in value)
    return check_count(name, value[0] if isinstance(value, (tuple, list)) and value else value)


def _lengths(normalized_shape: int | Shape) -> Shape:
    return normalized_shape if isinstance(normalized_shape, tuple) else (normalized_shape,)


class LayerNorm(_Norm):
    """
    ``y = w z + b``, z the vector of channels of each position with mean 0 and variance 1: x (N, ..., C) [1]_.

    ``dw = Σ z dy``, ``db = Σ dy``; dx is that of :class:`BatchNorm` with means over the channels.

    Parameters
    ----------
    normalized_shape : int or tuple of int, optional
        C, the length of the last axis, or the lengths of several last axes, which together are the channels. By default
        the last axis of the first data.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether to learn w and b, of shape normalized_shape.

    References
    ----------
    .. [1] J. L. Ba et al., Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> LayerNorm(2)(np.asarray([[1.0, 3.0], [10.0, 30.0]], dtype="float32")).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    normalized_shape = Fixed(_check_normalized_shape)

    input_size_argument = "normalized_shape"

    def __init__(
        self, normalized_shape: int | Shape | None = None, *, eps: float = 1e-5, elementwise_affine: bool = True
    ):
        self.normalized_shape = normalized_shape
        self._lengths = _lengths(self.normalized_shape)
        super().__init__(self._lengths, eps, check_flag("elementwise_affine", elementwise_affine))

    @property
    def elementwise_affine(self) -> bool:
        """Whether a scale and a shift are learned."""
        return self.weight is not None

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, *self._lengths)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        y, pullback, *_ = self._normalized(x, (3,), 1, len(self._lengths))
        return y, pullback


class RMSNorm(Layer):
    """
    ``y = w z``, ``z = x / √(mean(x²) + eps)``, the mean over the channels of each position: x (N, ..., C) [1]_.

    ``dw = Σ z dy``, ``dx = (w dy - z mean(z w dy)) / √(mean(x²) + eps)``.

    Parameters
    ----------
    normalized_shape : int or tuple of int, optional
        See :class:`LayerNorm`.
    eps : float, optional
        Added to the mean square; by default the machine epsilon of the dtype of x, as in PyTorch.
    elementwise_affine : bool
        Whether to learn w, of shape normalized_shape.

    References
    ----------
    .. [1] B. Zhang, R. Sennrich, Root mean square layer normalization, NeurIPS 2019.

    Examples
    --------
    >>> RMSNorm(2)(np.asarray([[1.0, 7.0], [10.0, 70.0]], dtype="float32")).round(3)
    array([[0.2, 1.4],
           [0.2, 1.4]], dtype=float32)
    """

    normalized_shape = Fixed(_check_normalized_shape)
    eps = Checked(optional(check_number), at_least=MIN_EPS)

    input_size_argument = "normalized_shape"

    def __init__(
        self, normalized_shape: int | Shape | None = None, *, eps: float | None = None, elementwise_affine: bool = True
    ):
        self.normalized_shape, self.eps = normalized_shape, eps
        self._lengths = _lengths(self.normalized_shape)
        self.weight = Parameter(self._lengths, ones) if check_flag("elementwise_affine", elementwise_affine) else None

    @property
    def elementwise_affine(self) -> bool:
        """Whether a scale is learned."""
        return self.weight is not None

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, *self._lengths)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(tuple(x.shape[1:]))
        check_floating(self, x)
        xp, w = namespace(x), None if self.weight is None else self.weight.data
        if w is not None:
            check_input(x, w)
        axes = tuple(range(-len(self._lengths), 0))
        square = xp.mean(x * x, axis=axes, keepdims=True) + (xp.finfo(x.dtype).eps if self.eps is None else self.eps)
        scale = xp.sqrt(square) / square  # NaN where the square overflowed
        z = x * scale

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads and self.weight is not None:
                dw = kernels.bias_grad(xp.reshape(z * dy, (-1, self.weight.size)))
                self.weight.accumulate(_in_shape(dw, self.weight.shape))
            if not need_dx:
                return None
            dz = dy if w is None else dy * w
            return scale * (dz - z * xp.mean(z * dz, axis=axes, keepdims=True))

        return z if w is None else z * w, pullback


class GroupNorm(_ChannelNorm):
    """
    ``y = w z + b``, z with mean 0 and variance 1 over each group of channels of an example: x (N, ..., C) [1]_.

    ``dw = Σ z dy``, ``db = Σ dy``; dx is that of :class:`BatchNorm` with means over positions and the group.

    Parameters
    ----------
    num_groups : int
        Number of groups; it divides num_channels.
    num_channels : int, optional
        C, the last axis; by default that of the first data.
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

    num_groups, num_channels = Checked(check_count), Fixed(check_count)

    input_size_argument, input_size_multiple_of = "num_channels", "num_groups"

    def __init__(self, num_groups: int, num_channels: int | None = None, *, eps: float = 1e-5, affine: bool = True):
        self.num_groups, self.num_channels = num_groups, num_channels
        self._check_together()
        super().__init__(self.num_channels, eps, affine)

    def _check_together(self) -> None:
        if self.num_channels % self.num_groups:
            raise ValueError(f"num_groups must divide num_channels={self.num_channels}, got {self.num_groups}")

    def output_shape(self, shape: Shape) -> Shape:
        return check_channels(self, shape, self.num_channels)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        y, pullback, *_ = self._normalized(x, (1, 3), self.num_groups)
        return y, pullback


class InstanceNorm(_ChannelNorm):
    """
    ``y = w z + b``, z with mean 0 and variance 1 over the positions of each channel of an example [1]_.

    x has shape (N, ..., C), with more than one position. The layer is :class:`GroupNorm` with a group for each channel,
    and has its gradients; ``affine`` is False by default, as in PyTorch.

    Parameters
    ----------
    num_features : int, optional
        C, the last axis; by default that of the first data.
    eps : float
        Added to the variance.
    affine : bool
        Whether to learn w and b, shape (C,).

    References
    ----------
    .. [1] D. Ulyanov et al., Instance normalization: the missing ingredient for fast stylization, arXiv:1607.08022.

    Examples
    --------
    >>> InstanceNorm(2)(np.asarray([[[1.0, 10.0], [3.0, 30.0]]])).round(3)
    array([[[-1., -1.],
            [ 1.,  1.]]])
    """

    num_features = Fixed(check_count)

    input_size_argument = "num_features"

    def __init__(self, num_features: int | None = None, *, eps: float = 1e-5, affine: bool = False):
        self.num_features = num_features
        super().__init__(self.num_features, eps, affine)

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape[:-1]) < 2:
            raise ValueError(f"{self!r} needs x of shape (N, ..., C) with more than one position, got {batch(shape)}")
        return check_channels(self, shape, self.num_features)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        self.output_shape(x.shape[1:])
        y, pullback, *_ = self._normalized(x, (1, 3), self.num_features)
        return y, pullback


def split_channels(x: Array, num_groups: int, n_axes: int = 1) -> Array:
    """View of (N, ..., C) as (N, S, G, C / G): positions, groups, and the channels of a group, the last ``n_axes``."""
    n, *lengths = x.shape
    positions, channels = math.prod(lengths[:-n_axes]), math.prod(lengths[-n_axes:])
    return namespace(x).reshape(x, (n, positions, num_groups, channels // num_groups))


def _in_shape(a: Array, shape: Shape) -> Array:
    return a if a.shape == shape else namespace(a).reshape(a, shape)
