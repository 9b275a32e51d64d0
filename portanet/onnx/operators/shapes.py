"""Operators that change shapes and dtypes, and those that make arrays of shapes."""

import math
from typing import Any

import numpy as np

from portanet.onnx.operators.arrays import dtype_of, from_host, integers, number, positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


@operator("Identity")
def identity(xp: Any, x: Array) -> Array:
    """Return x."""
    return x


@operator("Cast")
def cast(xp: Any, x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    """Convert to a dtype; ``saturate`` and ``round_mode`` concern floats of 8 bits."""
    return xp.astype(x, dtype_of(xp, to))


@operator("CastLike")
def cast_like(xp: Any, x: Array, like: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    """Convert to the dtype of another array."""
    return xp.astype(x, like.dtype)


@operator("Shape")
def shape_of(xp: Any, x: Array, *, start: int = 0, end: int | None = None) -> Array:
    """Return the lengths of some axes, all by default."""
    return xp.asarray(list(x.shape)[start:end], dtype=xp.int64, device=x.device)


@operator("Size")
def size_of(xp: Any, x: Array) -> Array:
    """Return the number of elements."""
    return xp.asarray(math.prod(x.shape), dtype=xp.int64, device=x.device)


@operator("Reshape")
def reshape(xp: Any, x: Array, shape: Any, *, allowzero: int = 0) -> Array:
    """Give a new shape: 0 keeps a length, unless ``allowzero``, and -1 is inferred."""
    lengths = integers(shape)
    if not allowzero:
        lengths = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(lengths))
    if -1 in lengths and 0 in x.shape:
        known = math.prod(n for n in lengths if n != -1)
        lengths = tuple(math.prod(x.shape) // known if n == -1 else n for n in lengths)
    return xp.reshape(x, lengths)


@operator("Flatten")
def flatten(xp: Any, x: Array, *, axis: int = 1) -> Array:
    """Make a matrix: the axes before ``axis`` are its rows."""
    axis = axis + x.ndim if axis < 0 else axis
    return xp.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Transpose")
def transpose(xp: Any, x: Array, *, perm: Any = None) -> Array:
    """Order the axes anew, in reverse by default."""
    return xp.permute_dims(x, tuple(reversed(range(x.ndim))) if perm is None else integers(perm))


@operator("Squeeze")
def squeeze(xp: Any, x: Array, axes: Any = None) -> Array:
    """Remove axes of length 1, all of them by default."""
    chosen = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else axes
    return xp.squeeze(x, axis=positive_axes(chosen, x.ndim))


@operator("Unsqueeze")
def unsqueeze(xp: Any, x: Array, axes: Any) -> Array:
    """Insert axes of length 1."""
    for axis in sorted(positive_axes(axes, x.ndim + len(integers(axes)))):
        x = xp.expand_dims(x, axis=axis)
    return x


@operator("Expand")
def expand(xp: Any, x: Array, shape: Any) -> Array:
    """Broadcast to a shape, or to that of x where it is longer."""
    return xp.broadcast_to(x, np.broadcast_shapes(tuple(x.shape), integers(shape)))


@operator("Tile")
def tile(xp: Any, x: Array, repeats: Any) -> Array:
    """Repeat the whole array along each axis."""
    return xp.tile(x, integers(repeats))


@operator("Concat")
def concat(xp: Any, *arrays: Array, axis: int = 1) -> Array:
    """Join arrays along an axis."""
    return xp.concat(arrays, axis=axis)


@operator("Split")
def split(
    xp: Any, x: Array, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, n_outputs: int = 1
) -> tuple[Array, ...]:
    """Divide along an axis, into parts of the given lengths or into equal ones, of which the last may be shorter."""
    if num_outputs not in (None, n_outputs):
        raise ValueError(f"num_outputs is {num_outputs}, but the node has {n_outputs} outputs")
    (axis,) = positive_axes(axis, x.ndim)
    length, n = x.shape[axis], n_outputs
    ends = np.cumsum(integers(split)) if split is not None else [-(-length // n) * (i + 1) for i in range(n)]
    before, starts = (slice(None),) * axis, [0, *ends[:-1]]
    return tuple(x[(*before, slice(int(a), min(length, int(b))), ...)] for a, b in zip(starts, ends, strict=True))


@operator("ConstantOfShape")
def constant_of_shape(xp: Any, shape: Array, *, value: Any = None) -> Array:
    """Return an array of a shape, filled with one number, by default 0."""
    fill = np.zeros(1, "float32") if value is None else value
    filled = from_host(fill.reshape(1), shape)
    return xp.asarray(xp.broadcast_to(filled, integers(shape)), copy=True)


@operator("Range")
def arange(xp: Any, start: Array, limit: Array, delta: Array, *, stash_type: int = 1) -> Array:
    """Return the numbers from ``start`` up to ``limit`` in steps of ``delta``."""
    first, end, step = (number(a, 0) for a in (start, limit, delta))
    count = max(0, math.ceil((end - first) / step))
    steps = xp.arange(count, dtype=xp.int64, device=start.device)
    return xp.astype(steps, start.dtype) * delta + start


@operator("EyeLike")
def eye_like(xp: Any, x: Array, *, dtype: int | None = None, k: int = 0) -> Array:
    """Return ones on a diagonal of a matrix of the shape of x."""
    return xp.eye(*x.shape, k=k, dtype=x.dtype if dtype is None else dtype_of(xp, dtype), device=x.device)


@operator("Trilu")
def trilu(xp: Any, x: Array, k: Any = None, *, upper: int = 1) -> Array:
    """Keep the upper or the lower triangle."""
    (diagonal,) = (0,) if k is None else integers(k)
    return xp.triu(x, k=diagonal) if upper else xp.tril(x, k=diagonal)


@operator("DepthToSpace")
def depth_to_space(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Move channels of (N, C, H, W) into blocks of positions."""
    n, c, h, w = x.shape
    b, rest = blocksize, c // blocksize**2
    if mode == "DCR":
        blocks = xp.permute_dims(xp.reshape(x, (n, b, b, rest, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        blocks = xp.permute_dims(xp.reshape(x, (n, rest, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return xp.reshape(blocks, (n, rest, h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Move blocks of positions of (N, C, H, W) into channels."""
    n, c, h, w = x.shape
    b = blocksize
    axes = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = xp.permute_dims(xp.reshape(x, (n, c, h // b, b, w // b, b)), axes)
    return xp.reshape(blocks, (n, c * b * b, h // b, w // b))
