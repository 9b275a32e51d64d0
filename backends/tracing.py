"""
Trace elementwise functions: call them on symbols instead of arrays, to learn what they compute.

Each operation on a symbol gives another symbol, which refers to its operands. The steps that lead to the result can be
compiled: by CuPy to CUDA, by the compiled core of NumPy to a program of its own.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portanet.backends.base import Backend
from portanet.backends.registry import register_array_type

Operand: TypeAlias = "int | float | str"
"""The number of an earlier step, a constant, or the name of an argument: "x" or "other"."""


class Step(NamedTuple):
    """An operation on operands; ``boolean`` says whether its result is one."""

    operation: str
    operands: tuple[Operand, ...]
    boolean: bool


class Symbol:
    """A floating or boolean value in a traced function: an argument, a constant, or an operation on other symbols."""

    __array_ufunc__ = None  # NumPy must not compute with it

    def __init__(self, operation: str, *operands: "Symbol | float", dtype: Any):
        self.operation, self.operands, self.dtype = operation, operands, dtype

    @property
    def boolean(self) -> bool:
        """Whether it is a boolean."""
        return bool(self.dtype == bool)

    def __bool__(self) -> bool:
        raise TypeError("a traced function cannot branch on a value: use xp.where")


def _operand(value: Any) -> "Symbol | float":
    if type(value) in (int, float) and abs(value) < math.inf:
        return float(value)
    # No arithmetic on booleans: it gives integers in C++, but booleans in NumPy.
    if not isinstance(value, Symbol) or value.boolean:
        raise TypeError(f"a traced function computes with finite numbers, got {value!r}")
    return value


def _operation(name: str, *, boolean: bool = False, swapped: bool = False) -> Callable[..., Symbol]:
    """Return a function that applies an operation to symbols and numbers, or to them in reverse order."""

    def apply(*values: Any) -> Symbol:
        operands = list(map(_operand, values[::-1] if swapped else values))
        dtype = np.dtype(bool) if boolean else next(x.dtype for x in operands if isinstance(x, Symbol))
        return Symbol(name, *operands, dtype=dtype)

    return apply


def _where(condition: Symbol, x: Any, y: Any) -> Symbol:
    if not condition.boolean:
        raise TypeError("the condition of xp.where must be a comparison")
    operands = _operand(x), _operand(y)
    dtype = next(operand.dtype for operand in operands if isinstance(operand, Symbol))
    return Symbol("where", condition, *operands, dtype=dtype)


def _astype(x: Symbol, dtype: Any, *, copy: bool = True) -> Symbol:
    if not x.boolean and dtype == x.dtype:
        return x
    source = x
    while source.boolean:  # from a comparison to a floating operand
        source = next(operand for operand in source.operands if isinstance(operand, Symbol))
    if dtype is bool or dtype == np.dtype(bool):
        return Symbol("as_boolean", x, dtype=np.dtype(bool))
    if dtype != source.dtype:
        raise TypeError(f"a traced function has one floating dtype, {source.dtype}, got {dtype!r}")
    return Symbol("as_number", x, dtype=source.dtype)


def _refuse(*_: Any) -> Any:
    raise TypeError("a symbol has no value, and cannot be changed in place")


for _method, _name in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power"}.items():
    setattr(Symbol, f"__{_method}__", _operation(_name))
    setattr(Symbol, f"__i{_method}__", _refuse)
    if _method != "pow":
        setattr(Symbol, f"__r{_method}__", _operation(_name, swapped=True))
_COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
for _method, _name in _COMPARISONS.items():
    setattr(Symbol, f"__{_method}__", _operation(_name, boolean=True))
for _method, _name in {"neg": "negative", "abs": "abs"}.items():
    setattr(Symbol, f"__{_method}__", _operation(_name))

SYMBOLIC_XP = SimpleNamespace(
    **{
        name: _operation(name)
        for name in ("abs", "cos", "exp", "expm1", "log", "log1p", "maximum", "minimum", "sign", "sin", "sqrt", "tanh")
    },
    where=_where,
    ones_like=lambda x: Symbol("constant", 1.0, dtype=x.dtype),
    zeros_like=lambda x: Symbol("constant", 0.0, dtype=x.dtype),
    astype=_astype,
)
"""The part of the Array API that elementwise functions need. As in NumPy, maximum and minimum propagate NaN."""


class _DependsOnInput(Exception):
    """A result depends on x, not only on the output."""


def _steps(result: Any, argument: Symbol) -> tuple[Step, ...]:
    """Return the steps from an argument, which is called "x", to a result; the last step gives the result."""
    numbers: dict[int, int] = {}
    steps: list[Step] = []

    def number(value: "Symbol | float") -> Operand:
        if isinstance(value, float):
            return value
        if value is argument:
            return "x"
        if value.operation == "x":
            raise _DependsOnInput
        if value.operation == "other":
            return "other"
        if value.operation == "constant":
            return float(value.operands[0])  # type: ignore[arg-type]
        if id(value) not in numbers:
            step = Step(value.operation, tuple(map(number, value.operands)), value.boolean)
            numbers[id(value)] = len(steps)
            steps.append(step)
        return numbers[id(value)]

    last = number(_operand(result))
    if not isinstance(last, int):  # a constant or an argument
        steps.append(Step("copy", (last,), boolean=False))
    return tuple(steps)


class Traced(NamedTuple):
    """
    The steps of an elementwise function and of its derivative.

    Parameters
    ----------
    output, derivative : tuple of Step
        The last step gives the result.
    from_output : bool
        Whether the derivative is computed from the output, which is then its "x". This saves memory, since the next
        layer needs the output anyway.

    Examples
    --------
    >>> traced = trace(portanet.TanH().elementwise, np.dtype("float32"))
    >>> [(step.operation, *step.operands) for step in traced.output]
    [('tanh', 'x')]
    >>> [(step.operation, *step.operands) for step in traced.derivative], traced.from_output
    ([('multiply', 'x', 'x'), ('subtract', 1.0, 0)], True)
    """

    output: tuple[Step, ...]
    derivative: tuple[Step, ...]
    from_output: bool


def trace(fn: Callable[..., Any], dtype: Any, *, has_other: bool = False) -> Traced | None:
    """Trace ``fn(xp, x)`` or ``fn(xp, x, other)``; return None if it does what symbols do not support."""
    x = Symbol("x", dtype=dtype)
    try:
        y, get_derivative = fn(SYMBOLIC_XP, x, *[Symbol("other", dtype=dtype)] * has_other)
        output, derivative = _steps(y, x), get_derivative()
        try:
            return Traced(output, _steps(derivative, y), from_output=True)
        except _DependsOnInput:
            return Traced(output, _steps(derivative, x), from_output=False)
    except Exception:
        return None


# Kernels that a traced function calls, such as portanet.kernels.erfcx, are dispatched on the type of its symbols.
register_array_type(
    Backend(
        name="symbol",
        xp=SYMBOLIC_XP,
        array_type=Symbol,
        device=None,
        to_numpy=_refuse,
        description="symbols that trace an elementwise function",
        kernels={"erfcx": _operation("erfcx"), "sigmoid": _operation("sigmoid")},
    )
)
