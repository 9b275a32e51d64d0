"""
Trace elementwise functions to CUDA source.

An :data:`portanet.kernels.elementwise.ElementwiseFn` is called on symbols instead of arrays. Each operation on a symbol
gives another symbol, whose expression refers to its operands. The expressions that lead to the result become the
statements of a kernel.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from portanet.backends.base import Backend
from portanet.backends.registry import register_array_type
from portanet.kernels.elementwise import ElementwiseFn

X, OTHER = "x[i]", "other[i]"
"""Expressions of the arguments of a function."""


class Symbol:
    """A floating or boolean value in a traced function: an expression in C++, with ``{}`` for each operand."""

    __array_ufunc__ = None  # NumPy must not compute with it

    def __init__(self, expression: str, *operands: Any, dtype: Any):
        self.expression, self.operands, self.dtype = expression, operands, dtype

    @property
    def type(self) -> str:
        """Its C++ type."""
        return "bool" if self.dtype == bool else "T"

    def __bool__(self) -> bool:
        raise TypeError("a traced function cannot branch on a value: use xp.where")


def _operand(value: Any) -> "Symbol | str":
    if type(value) in (int, float) and abs(value) < math.inf:
        return f"(T){float(value)!r}"
    # No arithmetic on booleans: it gives integers in C++, but booleans in NumPy.
    if not isinstance(value, Symbol) or value.type != "T":
        raise TypeError(f"a traced function computes with finite numbers, got {value!r}")
    return value


def _operation(expression: str, dtype: Any = None) -> Callable[..., Symbol]:
    """Return a function that applies an expression to operands; ``dtype`` is that of the operands if None."""

    def apply(*values: Any) -> Symbol:
        operands = list(map(_operand, values))
        return Symbol(expression, *operands, dtype=dtype or next(x.dtype for x in operands if isinstance(x, Symbol)))

    return apply


def _where(condition: Symbol, x: Any, y: Any) -> Symbol:
    if condition.type != "bool":
        raise TypeError("the condition of xp.where must be a comparison")
    operands = _operand(x), _operand(y)
    dtype = next(operand.dtype for operand in operands if isinstance(operand, Symbol))
    return Symbol("{} ? {} : {}", condition, *operands, dtype=dtype)


def _astype(x: Symbol, dtype: Any, *, copy: bool = True) -> Symbol:
    source = x
    while source.type != "T":  # from a comparison to a floating operand
        source = next(operand for operand in source.operands if isinstance(operand, Symbol))
    if dtype not in (source.dtype, bool):
        raise TypeError(f"a traced function has one floating dtype, {source.dtype}, got {dtype!r}")
    result = Symbol("", x, dtype=np.dtype(dtype))
    result.expression = f"({result.type}){{}}"
    return result


def _refuse(*_: Any) -> Any:
    raise TypeError("a symbol has no value, and cannot be changed in place")


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(Symbol, f"__{_name}__", _operation(f"{{}} {_sign} {{}}"))
    setattr(Symbol, f"__r{_name}__", _operation(f"{{1}} {_sign} {{0}}"))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _operation(f"{{}} {_sign} {{}}", np.dtype(bool)))
for _name, _expression in {"neg": "-{}", "abs": "fabs({})", "pow": "pow({}, {})"}.items():
    setattr(Symbol, f"__{_name}__", _operation(_expression))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Symbol, f"__i{_name}__", _refuse)

# The part of the Array API that elementwise functions need. As in NumPy, maximum and minimum propagate NaN.
SYMBOLIC_XP = SimpleNamespace(
    **{name: _operation(f"{name}({{}})") for name in ("cos", "exp", "expm1", "log", "log1p", "sin", "sqrt", "tanh")},
    abs=_operation("fabs({})"),
    sign=_operation("{0} != {0} ? {0} : (T)(({0} > 0) - ({0} < 0))"),
    maximum=_operation("{0} > {1} || {0} != {0} ? {0} : {1}"),
    minimum=_operation("{0} < {1} || {0} != {0} ? {0} : {1}"),
    where=_where,
    ones_like=lambda x: Symbol("1", dtype=x.dtype),
    zeros_like=lambda x: Symbol("0", dtype=x.dtype),
    astype=_astype,
)


def _macros(result: Any, argument: Symbol) -> dict[str, int | str]:
    """
    Write the statements that compute a result from an argument, which is read from ``x[i]``, as macros of a kernel.

    Raises
    ------
    ValueError
        If the result depends on x, and the argument is another symbol.
    """
    names: dict[int, str] = {}
    statements: list[str] = []

    def name(value: Symbol | str) -> str:
        if isinstance(value, str):
            return value
        if id(value) not in names:
            if value.expression == X and value is not argument:
                raise ValueError("the result depends on x")
            expression = X if value is argument else value.expression.format(*map(name, value.operands))
            names[id(value)] = f"v{len(names)}"
            statements.append(f"const {value.type} {names[id(value)]} = {expression};")
        return names[id(value)]

    expression = name(_operand(result))
    return {"STATEMENTS": " ".join(statements), "RESULT": expression}


class TracedFn(NamedTuple):
    """
    Macros that compute an elementwise function and its derivative in CUDA C++.

    Parameters
    ----------
    output, derivative : dict of str to str
        Macros of the kernels in :mod:`portanet.backends.cupy.elementwise`.
    from_output : bool
        Whether the derivative is computed from the output instead of x. This saves memory, since the next layer needs
        the output anyway.

    Examples
    --------
    >>> traced = TracedFn.trace(portanet.TanH().elementwise, np.dtype("float32"))
    >>> traced.output
    {'STATEMENTS': 'const T v0 = x[i]; const T v1 = tanh(v0);', 'RESULT': 'v1'}
    >>> traced.derivative, traced.from_output
    ({'STATEMENTS': 'const T v0 = x[i]; const T v1 = v0 * v0; const T v2 = (T)1.0 - v1;', 'RESULT': 'v2'}, True)
    """

    output: dict[str, int | str]
    derivative: dict[str, int | str]
    from_output: bool

    @classmethod
    def trace(cls, fn: ElementwiseFn, dtype: Any, *, has_other: bool = False) -> "TracedFn | None":
        """Return None if the function does what symbols do not support; on arrays it may run."""
        x = Symbol(X, dtype=dtype)
        try:
            y, get_derivative = fn(SYMBOLIC_XP, x, *[Symbol(OTHER, dtype=dtype)] * has_other)
            output, derivative = _macros(y, x), get_derivative()
            try:
                return cls(output, _macros(derivative, y), True)
            except ValueError:
                return cls(output, _macros(derivative, x), False)
        except Exception:
            return None


def sigmoid(x: Any) -> Symbol:
    """See :func:`portanet.kernels.sigmoid`; where exp overflows, this is 0."""
    return _operation("1 / (1 + exp(-{}))")(x)


def erf(x: Any) -> Symbol:
    """Error function of CUDA."""
    return _operation("erf({})")(x)


# Kernels that a traced function calls, such as portanet.kernels.erf, are dispatched on the type of its symbols.
register_array_type(
    Backend(
        name="symbol",
        xp=SYMBOLIC_XP,
        array_type=Symbol,
        device=None,
        to_numpy=_refuse,
        description="symbols that trace an elementwise function",
        kernels={"erf": erf, "sigmoid": sigmoid},
    )
)
