"""Reductions over axes, and positions of maxima, minima and the largest numbers."""

from collections.abc import Callable
from typing import Any

from portanet.onnx.operators.arrays import integers, positive_axes
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

Reduce = Callable[[Any, Array, dict[str, Any]], Array]


def _sum(xp: Any, x: Array, along: dict[str, Any]) -> Array:
    return xp.sum(x, dtype=x.dtype, **along)


def _in_floats(reduce: Reduce) -> Reduce:
    """Compute integers in float64, and cut the result off, as ONNX's own evaluator does."""

    def compute(xp: Any, x: Array, along: dict[str, Any]) -> Array:
        if xp.isdtype(x.dtype, "real floating"):
            return reduce(xp, x, along)
        return xp.astype(reduce(xp, xp.astype(x, xp.float64), along), x.dtype)

    return compute


def _log_sum_exp(xp: Any, x: Array, along: dict[str, Any]) -> Array:
    if 0 in x.shape:
        return xp.log(_sum(xp, x, along))
    highest = xp.max(x, axis=along["axis"], keepdims=True)
    highest = xp.where(xp.isfinite(highest), highest, 0.0)  # so that exp cannot overflow
    total = xp.log(xp.sum(xp.exp(x - highest), axis=along["axis"], keepdims=True)) + highest
    return total if along["keepdims"] else xp.squeeze(total, axis=along["axis"])


def _extreme(name: str) -> Reduce:
    """Return the maximum or minimum; of no numbers, the smallest or largest there is."""

    def reduce(xp: Any, x: Array, along: dict[str, Any]) -> Array:
        kind, function = x.dtype, getattr(xp, name)
        if xp.isdtype(kind, "bool"):
            return xp.astype(reduce(xp, xp.astype(x, xp.uint8), along), kind)
        if 0 not in x.shape:
            return function(x, **along)
        shape = xp.sum(xp.astype(x, xp.float64), **along).shape
        if xp.isdtype(kind, "real floating"):
            limit = float("-inf" if name == "max" else "inf")
        else:
            limit = xp.iinfo(kind).min if name == "max" else xp.iinfo(kind).max
        return xp.full(shape, limit, dtype=kind, device=x.device)

    return reduce


REDUCTIONS: dict[str, Reduce] = {
    "ReduceSum": _sum,
    "ReduceMean": _in_floats(lambda xp, x, along: xp.mean(x, **along)),
    "ReduceMax": _extreme("max"),
    "ReduceMin": _extreme("min"),
    "ReduceProd": lambda xp, x, along: xp.prod(x, dtype=x.dtype, **along),
    "ReduceL1": lambda xp, x, along: _sum(xp, xp.abs(x), along),
    "ReduceL2": _in_floats(lambda xp, x, along: xp.sqrt(_sum(xp, x * x, along))),
    "ReduceLogSum": _in_floats(lambda xp, x, along: xp.log(_sum(xp, x, along))),
    "ReduceLogSumExp": _in_floats(_log_sum_exp),
    "ReduceSumSquare": lambda xp, x, along: _sum(xp, x * x, along),
}


def _over_axes(reduce: Reduce) -> Callable[..., Array]:
    """Add the axes, all by default; with ``noop_with_empty_axes``, no axes by default."""

    def compute(xp: Any, x: Array, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
        chosen = () if axes is None else positive_axes(axes, x.ndim)
        if not chosen and not noop_with_empty_axes:
            chosen = tuple(range(x.ndim))
        if not chosen:  # each number is reduced alone
            return xp.squeeze(reduce(xp, xp.expand_dims(x, axis=0), {"axis": (0,), "keepdims": True}), axis=0)
        return reduce(xp, x, {"axis": chosen, "keepdims": bool(keepdims)})

    return compute


for _name, _reduce in REDUCTIONS.items():
    operator(_name)(_over_axes(_reduce))


def _position(name: str) -> Callable[..., Array]:
    def compute(xp: Any, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        (axis,) = positive_axes(axis, x.ndim)
        if select_last_index:
            x = xp.flip(x, axis=axis)
        found = getattr(xp, name)(x, axis=axis, keepdims=bool(keepdims))
        return xp.astype(x.shape[axis] - 1 - found if select_last_index else found, xp.int64)

    return compute


operator("ArgMax")(_position("argmax"))
operator("ArgMin")(_position("argmin"))


@operator("TopK")
def top_k(
    xp: Any,
    x: Array,
    k: Any,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # ONNX's name
) -> tuple[Array, Array]:
    """Return the k largest or smallest numbers along an axis, and their positions."""
    (axis,), (count,) = positive_axes(axis, x.ndim), integers(k)
    if largest:  # descending, and the first of equal numbers first
        order = x.shape[axis] - 1 - xp.flip(xp.argsort(xp.flip(x, axis=axis), axis=axis), axis=axis)
    else:
        order = xp.argsort(x, axis=axis)
    order = xp.astype(order[(*(slice(None),) * axis, slice(count), ...)], xp.int64)
    return xp.take_along_axis(x, order, axis=axis), order


@operator("CumSum")
def cum_sum(xp: Any, x: Array, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Return sums of the numbers up to each one; ``exclusive`` leaves that out, ``reverse`` starts at the end."""
    (axis,) = positive_axes(axis, x.ndim)
    x = xp.flip(x, axis=axis) if reverse else x
    y = xp.cumulative_sum(x, axis=axis, dtype=x.dtype)
    y = y - x if exclusive else y
    return xp.flip(y, axis=axis) if reverse else y
