"""Pooling, by PortaNet's channels-last kernels."""

import math
from dataclasses import replace
from typing import Any

from portanet import kernels
from portanet.graph.padding import conv_window
from portanet.kernels.windows import Window
from portanet.onnx.operators.arrays import channels_first, channels_last
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


@operator("MaxPool")
def max_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = None,
    n_outputs: int = 1,
) -> Any:
    """Maximum of each window, and optionally its position in x as one row of numbers."""
    window = conv_window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    rows = channels_last(xp, x)
    if not xp.isdtype(x.dtype, "real floating"):
        rows = xp.astype(rows, xp.float64)  # padding is -inf; float64 holds all of 8 bits
    if n_outputs == 1:
        return xp.astype(channels_first(xp, kernels.max_pool(rows, window)), x.dtype)
    y, offsets = _max_with_offsets(xp, rows, window, column_major=bool(storage_order))
    n_channels, size = x.shape[1], math.prod(window.input_shape)
    channels = xp.arange(x.shape[0] * n_channels, dtype=xp.int64, device=x.device) * size
    indices = channels_first(xp, offsets) + xp.reshape(channels, (x.shape[0], n_channels, *(1,) * window.n_axes))
    return xp.astype(channels_first(xp, y), x.dtype), indices


def _max_with_offsets(xp: Any, x: Array, window: Window, *, column_major: bool) -> tuple[Array, Array]:
    """Return the maxima of the windows, and their offsets within the spatial axes."""
    positions = xp.arange(math.prod(window.input_shape), dtype=xp.int64, device=x.device)
    if column_major:
        axes = tuple(reversed(range(window.n_axes)))
        positions = xp.permute_dims(xp.reshape(positions, window.input_shape[::-1]), axes)
    positions = window.pad(xp.reshape(positions, (1, *window.input_shape, 1)))
    padded = window.pad(x, -math.inf)
    (_, first), *others = window.offsets
    best = padded[first]
    index = xp.broadcast_to(positions[first], best.shape)
    for _, region in others:
        better = padded[region] > best
        best = xp.where(better, padded[region], best)
        index = xp.where(better, positions[region], index)
    return best, index


@operator("AveragePool")
def average_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    """Mean of each window; padding counts with ``count_include_pad``."""
    window = conv_window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    counted = window
    if count_include_pad:  # what only ceil_mode adds never counts
        given = conv_window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
        rest = tuple((0, n - m) for n, m in zip(window.padded_shape, given.padded_shape, strict=True))
        counted = replace(window, input_shape=given.padded_shape, pads=rest)
    count = kernels.sum_pool(xp.ones((1, *counted.input_shape, 1), dtype=x.dtype, device=x.device), counted)
    return channels_first(xp, kernels.sum_pool(channels_last(xp, x), window) / count)


@operator("LpPool")
def lp_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    p: float = 2,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    """Return ``(Σ |x|ᵖ)^(1/p)`` of each window."""
    window = conv_window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil=bool(ceil_mode))
    return channels_first(xp, kernels.sum_pool(channels_last(xp, xp.abs(x) ** p), window) ** (1.0 / p))


def _positions(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool")
def global_average_pool(xp: Any, x: Array) -> Array:
    """Mean over all positions."""
    return xp.mean(x, axis=_positions(x), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(xp: Any, x: Array) -> Array:
    """Maximum over all positions."""
    return xp.max(x, axis=_positions(x), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(xp: Any, x: Array, *, p: float = 2) -> Array:
    """Return ``(Σ |x|ᵖ)^(1/p)`` over all positions."""
    return xp.sum(xp.abs(x) ** p, axis=_positions(x), keepdims=True) ** (1.0 / p)
