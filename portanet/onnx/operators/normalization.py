"""Normalization to mean 0 and variance 1, over several sets of axes."""

from typing import Any

from portanet.onnx.operators.arrays import dtype_of, per_channel, positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


def _standardized(xp: Any, x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) / √(variance + eps)``, the mean and ``1 / √(variance + eps)``."""
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    scale = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + eps)
    return centred * scale, mean, scale


def _precise(xp: Any, x: Array, kind: Any) -> Array:
    """Return x in the dtype that a node asks for, unless its own is more precise."""
    return x if x.dtype == xp.float64 else xp.astype(x, kind)


@operator("BatchNormalization")
def batch_normalization(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    is_test: int = 1,
    spatial: int = 1,
    n_outputs: int = 1,
) -> Any:
    """Normalize each channel by running statistics; in training by those of the batch, and update the running ones."""
    if not spatial:
        raise ValueError("spatial must be 1: statistics of each position are not supported")
    if training_mode or n_outputs > 1:  # before version 14, further outputs ask for training
        axes = (0, *range(2, x.ndim))
        mean_here = xp.mean(x, axis=axes)
        centred = x - per_channel(xp, mean_here, x.ndim)
        variance_here = xp.mean(centred * centred, axis=axes)
        running = [old * momentum + new * (1 - momentum) for old, new in ((mean, mean_here), (variance, variance_here))]
        y = _batch_normalized(xp, x, scale, bias, mean_here, variance_here, epsilon)
        return (y, *running, mean_here, variance_here)[:n_outputs]
    return _batch_normalized(xp, x, scale, bias, mean, variance, epsilon)


def _batch_normalized(  # noqa: PLR0917
    xp: Any, x: Array, scale: Array, bias: Array, mean: Array, variance: Array, eps: float
) -> Array:
    factor = scale / xp.sqrt(variance + eps)
    centred = x - per_channel(xp, mean, x.ndim)
    return xp.astype(centred * per_channel(xp, factor, x.ndim) + per_channel(xp, bias, x.ndim), x.dtype)


@operator("LayerNormalization")
def layer_normalization(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Array, Array, Array]:
    """Normalize over the axes from ``axis`` on; also return the mean and the inverse standard deviation."""
    (axis,) = positive_axes(axis, x.ndim)
    kind = dtype_of(xp, stash_type)
    z, mean, factor = _standardized(xp, _precise(xp, x, kind), tuple(range(axis, x.ndim)), epsilon)
    y = xp.astype(z, x.dtype) * scale
    return y if bias is None else y + bias, xp.astype(mean, kind), xp.astype(factor, kind)


@operator("RMSNormalization")
def rms_normalization(
    xp: Any, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """Divide by the root of the mean square over the axes from ``axis`` on."""
    (axis,) = positive_axes(axis, x.ndim)
    z = _precise(xp, x, dtype_of(xp, stash_type))
    square = xp.mean(z * z, axis=tuple(range(axis, x.ndim)), keepdims=True)
    return xp.astype(z / xp.sqrt(square + epsilon), x.dtype) * scale


@operator("InstanceNormalization")
def instance_normalization(xp: Any, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalize each channel of each example over its positions."""
    z, *_ = _standardized(xp, x, tuple(range(2, x.ndim)), epsilon)
    return z * per_channel(xp, scale, x.ndim) + per_channel(xp, bias, x.ndim)


@operator("GroupNormalization", since=18)
def _group_normalization_18(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5
) -> Array:
    """Before version 21, a scale and a bias belong to each group."""
    n = x.shape[1] // num_groups
    scale, bias = xp.repeat(scale, n), xp.repeat(bias, n)
    return group_normalization(xp, x, scale, bias, num_groups=num_groups, epsilon=epsilon)


@operator("GroupNormalization", since=21)
def group_normalization(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """Normalize each group of channels of each example."""
    groups = xp.reshape(x, (x.shape[0], num_groups, -1))
    z, *_ = _standardized(xp, _precise(xp, groups, dtype_of(xp, stash_type)), (2,), epsilon)
    z = xp.reshape(xp.astype(z, x.dtype), x.shape)
    return z * per_channel(xp, scale, x.ndim) + per_channel(xp, bias, x.ndim)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(xp: Any, x: Array, *, axes: Any = (0, 2, 3)) -> Array:
    """Normalize over some axes."""
    along = positive_axes(axes, x.ndim)
    centred = x - xp.mean(x, axis=along, keepdims=True)
    return centred / (xp.sqrt(xp.mean(centred * centred, axis=along, keepdims=True)) + 1e-9)


@operator("LpNormalization")
def lp_normalization(xp: Any, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Divide by the L1 or L2 norm along an axis; a norm of 0 gives 0."""
    norm = xp.sum(xp.abs(x), axis=axis, keepdims=True) if p == 1 else xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True))
    return x / xp.where(norm == 0, 1.0, norm)


@operator("LRN")
def local_response_normalization(
    xp: Any, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """Divide by ``(bias + alpha / size Σ x²)^beta``, the sum over ``size`` neighbouring channels."""
    before, n = (size - 1) // 2, x.shape[1]
    shape = (x.shape[0], n + size - 1, *x.shape[2:])
    padded = xp.zeros(shape, dtype=x.dtype, device=x.device)
    padded[:, before : before + n, ...] = x * x
    total = padded[:, :n, ...]
    for i in range(1, size):
        total = total + padded[:, i : i + n, ...]
    return x / (bias + (alpha / size) * total) ** beta
