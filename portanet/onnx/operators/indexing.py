"""Operators that take parts of arrays, or surround them."""

import math
from typing import Any

import numpy as np

from portanet.layers.padding import SOURCES
from portanet.onnx.operators.arrays import from_host, integers, number, positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

SOURCE_OF_MODE = {"reflect": SOURCES["reflect"], "edge": SOURCES["replicate"], "wrap": SOURCES["circular"]}
"""By mode of Pad: the position that is copied to a position outside of the axis."""


@operator("Slice")
def slice_of(  # noqa: PLR0917 (the inputs, in ONNX's order)
    xp: Any, x: Array, starts: Any, ends: Any, axes: Any = None, steps: Any = None
) -> Array:
    """Take every ``step``-th position of some axes from ``start`` up to ``end``."""
    first, last = integers(starts), integers(ends)
    strides = (1,) * len(first) if steps is None else integers(steps)
    chosen = range(len(first)) if axes is None else positive_axes(axes, x.ndim)
    spans = [slice(None)] * x.ndim
    for axis, start, end, step in zip(chosen, first, last, strides, strict=True):
        n = x.shape[axis]
        low, high, stride = slice(start, end, step).indices(n)
        spans[axis] = slice(low, None if high < 0 else high, stride)
        if (high - low) * stride <= 0:
            spans[axis] = slice(0, 0)
    return x[tuple(spans)] if spans else x


@operator("Gather")
def gather(xp: Any, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Take positions of an axis; negative ones count from the end."""
    (axis,) = positive_axes(axis, x.ndim)
    flat = xp.reshape(indices, (-1,))
    flat = xp.where(flat < 0, flat + x.shape[axis], flat)
    return xp.reshape(xp.take(x, flat, axis=axis), (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operator("GatherElements")
def gather_elements(xp: Any, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Take one number along an axis for each index."""
    (axis,) = positive_axes(axis, x.ndim)
    indices = xp.where(indices < 0, indices + x.shape[axis], indices)
    spans = tuple(slice(n if i != axis else None) for i, n in enumerate(indices.shape))
    return xp.take_along_axis(x[spans], indices, axis=axis)


@operator("Compress")
def compress(xp: Any, x: Array, condition: Array, *, axis: int | None = None) -> Array:
    """Take the positions of an axis where a condition holds; without an axis, those of all numbers."""
    (chosen,) = xp.nonzero(condition)
    return xp.take(xp.reshape(x, (-1,)) if axis is None else x, chosen, axis=0 if axis is None else axis)


@operator("NonZero")
def non_zero(xp: Any, x: Array) -> Array:
    """Return the positions of all numbers but 0, one column each."""
    return xp.stack(xp.nonzero(x), axis=0)


@operator("OneHot")
def one_hot(xp: Any, indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    """Return ``values[1]`` at each index along a new axis, else ``values[0]``."""
    (n,) = integers(depth)
    (axis,) = positive_axes(axis, indices.ndim + 1)
    kind = indices.dtype
    indices = xp.expand_dims(xp.where(indices < 0, indices + n, indices), axis=axis)
    positions = xp.reshape(xp.arange(n, dtype=kind, device=indices.device), (n, *(1,) * (indices.ndim - axis - 1)))
    return xp.where(indices == positions, values[1], values[0])


@operator("Pad")
def pad(
    xp: Any,
    x: Array,
    pads: Any,
    constant_value: Any = None,
    axes: Any = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Array:
    """Add positions before and after some axes; negative numbers remove some."""
    chosen = tuple(range(x.ndim)) if axes is None else positive_axes(axes, x.ndim)
    sides = integers(pads)
    for axis, low, high in zip(chosen, sides[: len(chosen)], sides[len(chosen) :], strict=True):
        n, before = x.shape[axis], (slice(None),) * axis
        if mode == "constant":
            x = x[(*before, slice(max(0, -low), n + min(0, high)), ...)]
            x = _surrounded(xp, x, axis, (max(0, low), max(0, high)), number(constant_value, value))
        else:
            source = SOURCE_OF_MODE[mode]
            positions = np.asarray([source(i, n) for i in range(-low, n + high)], "int64")
            x = xp.take(x, from_host(positions, x), axis=axis)
    return x


def _surrounded(xp: Any, x: Array, axis: int, sides: tuple[int, int], value: float) -> Array:
    """Return x with a number before and after it along an axis."""
    if not any(sides):
        return x
    shape = [*x.shape]
    shape[axis] += sum(sides)
    kind = x.dtype
    fill = bool(value) if xp.isdtype(kind, "bool") else value if xp.isdtype(kind, "real floating") else int(value)
    y = xp.full(tuple(shape), fill, dtype=kind, device=x.device)
    y[(*(slice(None),) * axis, slice(sides[0], sides[0] + x.shape[axis]), ...)] = x
    return y


@operator("CenterCropPad")
def center_crop_pad(xp: Any, x: Array, shape: Array, *, axes: Any = None) -> Array:
    """Cut or pad both sides of some axes so that they get new lengths."""
    chosen = tuple(range(x.ndim)) if axes is None else positive_axes(axes, x.ndim)
    for axis, length in zip(chosen, integers(shape), strict=True):
        more = length - x.shape[axis]
        low = math.floor(more / 2) if more >= 0 else -(-more // 2)
        x = pad(xp, x, [low, more - low], axes=[axis])
    return x
