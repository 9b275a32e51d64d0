"""
Trace elementwise functions, and steps of recurrent layers: call them on symbols instead of arrays, to learn what they
compute.

Each operation on a symbol gives another symbol, which refers to its operands. The steps that lead to the result can be
compiled: by CuPy to CUDA, by the compiled core of NumPy to a program of its own.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portanet.backends.base import Backend
from portanet.backends.registry import register_array_type

Operand: TypeAlias = "int | float | str"
"""The number of an earlier step, a constant, or the name of an argument such as "x"."""


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


class _UnknownArgument(Exception):
    """A result depends on an argument that has no name, such as x where only the output is given."""


def _argument(dtype: Any) -> Symbol:
    return Symbol("argument", dtype=dtype)


def _steps(results: Sequence[Any], arguments: Mapping[str, Symbol]) -> tuple[Step, ...]:
    """Return the steps from named arguments to results, which are those of the last steps, in order."""
    names = {id(symbol): name for name, symbol in arguments.items()}
    numbers: dict[int, int] = {}
    steps: list[Step] = []

    def number(value: "Symbol | float") -> Operand:
        if isinstance(value, float):
            return value
        if id(value) in names:
            return names[id(value)]
        if value.operation == "argument":
            raise _UnknownArgument
        if value.operation == "constant":
            return float(value.operands[0])  # type: ignore[arg-type]
        if id(value) not in numbers:
            step = Step(value.operation, tuple(map(number, value.operands)), value.boolean)
            numbers[id(value)] = len(steps)
            steps.append(step)
        return numbers[id(value)]

    last = [number(_operand(result)) for result in results]
    if last != [len(steps) - 1]:  # several, a constant or an argument
        steps += [Step("copy", (operand,), boolean=False) for operand in last]
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
    x = _argument(dtype)
    others = {"other": _argument(dtype)} if has_other else {}
    try:
        y, get_derivative = fn(SYMBOLIC_XP, x, *others.values())
        output, derivative = _steps([y], {"x": x, **others}), get_derivative()
        try:
            return Traced(output, _steps([derivative], {"x": y, **others}), from_output=True)
        except _UnknownArgument:
            return Traced(output, _steps([derivative], {"x": x, **others}), from_output=False)
    except Exception:
        return None


class TracedRecurrence(NamedTuple):
    """
    The steps of one step of a recurrent layer, and of its pullback.

    Parameters
    ----------
    forward, backward : tuple of Step
        The last steps of ``forward`` give the states, then the numbers to save; those of ``backward`` the gradients of
        the gates of a, those of u unless they are the same, and those of the states.
    n_saved : int
        Numbers that the pullback takes from the forward step: gates, and functions of them such as tanh.
    same_gradients : bool
        Whether u has the gradients of a.

    Examples
    --------
    >>> traced = trace_recurrence(portanet.RNN(3, 2).step, 1, 1, np.dtype("float32"))
    >>> [(step.operation, *step.operands) for step in traced.forward]
    [('add', 'a0', 'u0'), ('tanh', 0)]
    >>> traced.n_saved, traced.same_gradients
    (0, True)
    """

    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    n_saved: int
    same_gradients: bool


_CHEAP = {"add", "subtract", "multiply", "negative", "abs", "maximum", "minimum", "constant"}
"""Operations that a pullback computes again: to save their results would take longer."""


def trace_recurrence(step: Callable[..., Any], n_gates: int, n_states: int, dtype: Any) -> TracedRecurrence | None:
    """
    Trace a step for :func:`portanet.kernels.recurrence`; return None if it does what symbols do not support.

    Arguments are called a0, a1 ... and u0 ... for the gates, s0 ... for the states. Those of the pullback are s0 ...,
    n0 ... for the next states, d0 ... for their gradients, and v0 ... for what was saved.
    """
    a, u, states, dstates = (tuple(_argument(dtype) for _ in range(n)) for n in (n_gates, n_gates, n_states, n_states))
    try:
        new, pullback = step(SYMBOLIC_XP, a, u, states)
        da, du, old = pullback(dstates)
        gradients = (*da, *(() if du is da else du), *old)
        known = {*map(id, states)}  # what the next states and these give is computed again
        to_save = [
            symbol
            for symbol in _reached(new).values()
            if symbol.operation not in _CHEAP and not _arguments([symbol], stop=new) <= known
        ]
        reached = _reached(gradients, stop=(*to_save, *new))
        saved = [symbol for symbol in to_save if id(symbol) in reached]
        forward = _steps((*new, *saved), _named(a=a, u=u, s=states))
        backward = _steps(gradients, _named(s=states, n=new, v=saved, d=dstates))
    except Exception:
        return None
    if (len(new), len(da), len(du), len(old)) != (n_states, n_gates, n_gates, n_states):
        return None
    return TracedRecurrence(forward, backward, len(saved), du is da)


def _named(**groups: Sequence[Symbol]) -> dict[str, Symbol]:
    """Number the symbols of each group."""
    return {f"{kind}{i}": symbol for kind, group in groups.items() for i, symbol in enumerate(group)}


def _arguments(results: Iterable[Any], stop: Iterable[Symbol]) -> set[int]:
    """Return the ids of the arguments that results depend on, not through ``stop``."""
    return {key for key, symbol in _reached(results, stop).items() if symbol.operation == "argument"}


def _reached(results: Iterable[Any], stop: Iterable[Symbol] = ()) -> dict[int, Symbol]:
    """Return the symbols that results depend on, by id; not those on which only ``stop`` depends."""
    found: dict[int, Symbol] = {}
    waiting, ends = [*results], set(map(id, stop))
    while waiting:
        symbol = waiting.pop()
        if isinstance(symbol, Symbol) and id(symbol) not in found:
            found[id(symbol)] = symbol
            waiting += () if id(symbol) in ends else symbol.operands
    return found


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
