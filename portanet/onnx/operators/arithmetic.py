"""Operators on each number: arithmetic, functions, comparisons and logic, with broadcasting."""

import functools
from collections.abc import Callable
from typing import Any

from portanet import kernels
from portanet.onnx.operators.arrays import aligned_shape, is_kind, number
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

Binary = Callable[[Any, Array, Array], Array]


def _binary_6(compute: Binary) -> Callable[..., Array]:
    """Before version 7, only b is broadcast, and only if ``broadcast`` is 1: to the axes of a from ``axis`` on."""

    def aligned(xp: Any, a: Array, b: Array, *, broadcast: int = 0, axis: int | None = None) -> Array:
        if not broadcast and a.shape != b.shape:
            raise ValueError(f"broadcast is 0, so that both inputs must have one shape, got {a.shape} and {b.shape}")
        return compute(xp, a, b if axis is None else xp.reshape(b, aligned_shape(b.shape, a.ndim, axis)))

    return aligned


def _divide(xp: Any, a: Array, b: Array) -> Array:
    """Return a / b; integers are divided towards zero."""
    if not is_kind(xp, a, "integral"):
        return a / b
    quotient = a // b
    if is_kind(xp, a, "unsigned integer"):
        return quotient
    inexact = (quotient * b != a) & (quotient < 0)
    return quotient + xp.astype(inexact, a.dtype)


def _power(xp: Any, a: Array, b: Array) -> Array:
    """Return a ** b in the dtype of a."""
    if a.dtype == b.dtype:
        return a**b
    exact = xp.float64 if is_kind(xp, a, "integral") else a.dtype
    return xp.astype(xp.astype(a, exact) ** xp.astype(b, exact), a.dtype)


BINARY: dict[str, Binary] = {
    "Add": lambda xp, a, b: a + b,
    "Sub": lambda xp, a, b: a - b,
    "Mul": lambda xp, a, b: a * b,
    "Div": _divide,
    "Pow": _power,
    "And": lambda xp, a, b: xp.logical_and(a, b),
    "Or": lambda xp, a, b: xp.logical_or(a, b),
    "Xor": lambda xp, a, b: xp.logical_xor(a, b),
    "Equal": lambda xp, a, b: a == b,
    "Less": lambda xp, a, b: a < b,
    "Greater": lambda xp, a, b: a > b,
    "LessOrEqual": lambda xp, a, b: a <= b,
    "GreaterOrEqual": lambda xp, a, b: a >= b,
    "BitwiseAnd": lambda xp, a, b: a & b,
    "BitwiseOr": lambda xp, a, b: a | b,
    "BitwiseXor": lambda xp, a, b: a ^ b,
}
for _name, _compute in BINARY.items():
    operator(_name, since=7)(_compute)
    operator(_name)(_binary_6(_compute))

UNARY: dict[str, Callable[[Any, Array], Array]] = {
    "Abs": lambda xp, x: xp.abs(x),
    "Neg": lambda xp, x: -x,
    "Sign": lambda xp, x: xp.sign(x),
    "Sqrt": lambda xp, x: xp.sqrt(x),
    "Reciprocal": lambda xp, x: 1.0 / x,
    "Exp": lambda xp, x: xp.exp(x),
    "Log": lambda xp, x: xp.log(x),
    "Floor": lambda xp, x: xp.floor(x),
    "Ceil": lambda xp, x: xp.ceil(x),
    "Round": lambda xp, x: xp.round(x),
    "Sin": lambda xp, x: xp.sin(x),
    "Cos": lambda xp, x: xp.cos(x),
    "Tan": lambda xp, x: xp.tan(x),
    "Asin": lambda xp, x: xp.asin(x),
    "Acos": lambda xp, x: xp.acos(x),
    "Atan": lambda xp, x: xp.atan(x),
    "Sinh": lambda xp, x: xp.sinh(x),
    "Cosh": lambda xp, x: xp.cosh(x),
    "Asinh": lambda xp, x: xp.asinh(x),
    "Acosh": lambda xp, x: xp.acosh(x),
    "Atanh": lambda xp, x: xp.atanh(x),
    "Not": lambda xp, x: xp.logical_not(x),
    "BitwiseNot": lambda xp, x: ~x,
    "IsNaN": lambda xp, x: xp.isnan(x),
    "Erf": lambda xp, x: kernels.erf(x),
}
for _name, _function in UNARY.items():
    operator(_name)(_function)


@operator("IsInf")
def is_inf(xp: Any, x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Whether numbers are infinite, of one sign or of both."""
    wanted = xp.full(x.shape, False, device=x.device)
    for asked, sign in ((detect_positive, x > 0), (detect_negative, x < 0)):
        wanted = wanted | sign if asked else wanted
    return xp.isinf(x) & wanted


@operator("Mod")
def mod(xp: Any, a: Array, b: Array, *, fmod: int = 0) -> Array:
    """Remainder with the sign of b; with ``fmod``, with that of a."""
    if not fmod:
        return xp.remainder(a, b)
    return xp.sign(a) * xp.remainder(xp.abs(a), xp.abs(b))


@operator("BitShift")
def bit_shift(xp: Any, a: Array, b: Array, *, direction: str) -> Array:
    """Shift bits to the left or the right."""
    return a << b if direction == "LEFT" else a >> b


@operator("Sum")
def sum_of(xp: Any, *arrays: Array) -> Array:
    """Sum of several arrays."""
    return functools.reduce(lambda a, b: a + b, arrays)


@operator("Mean")
def mean_of(xp: Any, *arrays: Array) -> Array:
    """Mean of several arrays."""
    return sum_of(xp, *arrays) / len(arrays)


@operator("Max")
def max_of(xp: Any, *arrays: Array) -> Array:
    """Maximum of several arrays."""
    return functools.reduce(xp.maximum, arrays)


@operator("Min")
def min_of(xp: Any, *arrays: Array) -> Array:
    """Minimum of several arrays."""
    return functools.reduce(xp.minimum, arrays)


@operator("Clip")
def clip(xp: Any, x: Array, min: Any = None, max: Any = None) -> Array:  # ONNX's names of the limits
    """Limit numbers to a range, of which either end may be open."""
    low, high = (None if limit is None else number(limit, 0) for limit in (min, max))
    x = x if low is None else xp.maximum(x, xp.asarray(low, dtype=x.dtype, device=x.device))
    return x if high is None else xp.minimum(x, xp.asarray(high, dtype=x.dtype, device=x.device))


@operator("Where")
def where(xp: Any, condition: Array, x: Array, y: Array) -> Array:
    """Take x where the condition holds, else y."""
    return xp.where(condition, x, y)
