"""
Formulas of single numbers, written down as the code of a kernel.

A formula is called on symbols. What it does to them, step by step, is what the kernel does to each number.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from portanet.backends.base import Backend
from portanet.backends.registry import register_array_type
from portanet.kernels.elementwise import ElementwiseFn

GIVEN, BESIDE = "given[i]", "beside[i]"
"""Codes of what a formula is called on."""


class Symbol:
    """A number of a formula, or whether something holds, and the numbers that it is computed from."""

    __array_ufunc__ = None  # an array knows nothing of it

    def __init__(self, code: str, *operands: Any, dtype: Any):
        self.code, self.operands, self.dtype = code, operands, dtype

    @property
    def type(self) -> str:
        """Its type in a kernel."""
        return "bool" if self.dtype == bool else "T"

    def __bool__(self) -> bool:
        raise TypeError("a formula cannot go by what a number is: take xp.where")


def _number(value: Any) -> "Symbol | str":
    if type(value) in (int, float) and abs(value) < math.inf:
        return f"(T){float(value)!r}"
    # Sums of truth values, say, are counts in C++, and truth values in Python.
    if not isinstance(value, Symbol) or value.type != "T":
        raise TypeError(f"a formula computes with finite numbers, got {value!r}")
    return value


def _function(code: str, dtype: Any = None) -> Callable[..., Symbol]:
    def call(*values: Any) -> Symbol:
        numbers = list(map(_number, values))
        return Symbol(code, *numbers, dtype=dtype or next(x.dtype for x in numbers if isinstance(x, Symbol)))

    return call


def _where(condition: Symbol, x: Any, y: Any) -> Symbol:
    if condition.type != "bool":
        raise TypeError("xp.where goes by a comparison")
    numbers = _number(x), _number(y)
    return Symbol("{} ? {} : {}", condition, *numbers, dtype=next(n.dtype for n in numbers if isinstance(n, Symbol)))


def _astype(x: Symbol, dtype: Any, *, copy: bool = True) -> Symbol:
    number = x
    while number.type != "T":  # a comparison of some
        number = next(operand for operand in number.operands if isinstance(operand, Symbol))
    if dtype not in (number.dtype, bool):
        raise TypeError(f"a formula has one type of floats, {number.dtype}, got {dtype!r}")
    made = Symbol("", x, dtype=np.dtype(dtype))
    made.code = f"({made.type}){{}}"
    return made


def _refuse(*_: Any) -> Any:
    raise TypeError("a symbol stands for numbers to come: it has no value, and nothing is changed in place")


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(Symbol, f"__{_name}__", _function(f"{{}} {_sign} {{}}"))
    setattr(Symbol, f"__r{_name}__", _function(f"{{1}} {_sign} {{0}}"))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _function(f"{{}} {_sign} {{}}", np.dtype(bool)))
for _name, _code in {"neg": "-{}", "abs": "fabs({})", "pow": "pow({}, {})"}.items():
    setattr(Symbol, f"__{_name}__", _function(_code))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Symbol, f"__i{_name}__", _refuse)

# As much of the Array API as formulas need. A NaN goes through a maximum, as it does everywhere else.
FUNCTIONS = SimpleNamespace(
    **{name: _function(f"{name}({{}})") for name in ("cos", "exp", "expm1", "log", "log1p", "sin", "sqrt", "tanh")},
    abs=_function("fabs({})"),
    sign=_function("{0} != {0} ? {0} : (T)(({0} > 0) - ({0} < 0))"),
    maximum=_function("{0} > {1} || {0} != {0} ? {0} : {1}"),
    minimum=_function("{0} < {1} || {0} != {0} ? {0} : {1}"),
    where=_where,
    ones_like=lambda x: Symbol("1", dtype=x.dtype),
    zeros_like=lambda x: Symbol("0", dtype=x.dtype),
    astype=_astype,
)


def _macros(end: Any, start: Symbol) -> dict[str, int | str]:
    """Write how to come from a number that is given to another, as macros; ValueError if x is needed and not given."""
    names: dict[int, str] = {}
    steps: list[str] = []

    def name(value: Symbol | str) -> str:
        if isinstance(value, str):
            return value
        if id(value) not in names:
            if value.code == GIVEN and value is not start:
                raise ValueError("x is not given")
            made = GIVEN if value is start else value.code.format(*map(name, value.operands))
            names[id(value)] = f"v{len(names)}"
            steps.append(f"const {value.type} {names[id(value)]} = {made};")
        return names[id(value)]

    result = name(_number(end))
    return {"STEPS": " ".join(steps), "RESULT": result}


class Code(NamedTuple):
    """
    A formula and its slope in CUDA C++, as macros; the slope is told from the result, and not from x, where it can be.

    Examples
    --------
    >>> code = Code.of(portanet.TanH().elementwise, np.dtype("float32"))
    >>> code.value
    {'STEPS': 'const T v0 = given[i]; const T v1 = tanh(v0);', 'RESULT': 'v1'}
    >>> code.slope, code.of_result
    ({'STEPS': 'const T v0 = given[i]; const T v1 = v0 * v0; const T v2 = (T)1.0 - v1;', 'RESULT': 'v2'}, True)
    """

    value: dict[str, int | str]
    slope: dict[str, int | str]
    of_result: bool

    @classmethod
    def of(cls, formula: ElementwiseFn, dtype: Any, *, beside: bool = False) -> "Code | None":
        """None where a formula does with a symbol what it is not made for; with an array it may do well."""
        x = Symbol(GIVEN, dtype=dtype)
        try:
            y, slope = formula(FUNCTIONS, x, *[Symbol(BESIDE, dtype=dtype)] * beside)
            value, rise = _macros(y, x), slope()
            try:
                return cls(value, _macros(rise, y), True)  # the next layer keeps the result, too
            except ValueError:
                return cls(value, _macros(rise, x), False)
        except Exception:
            return None


def sigmoid(x: Any) -> Symbol:
    """See :func:`portanet.kernels.sigmoid`; where exp is infinite, this is 0."""
    return _function("1 / (1 + exp(-{}))")(x)


def erf(x: Any) -> Symbol:
    """CUDA's own."""
    return _function("erf({})")(x)


register_array_type(
    Backend(
        name="formula",
        xp=FUNCTIONS,
        array_type=Symbol,
        device=None,
        to_numpy=_refuse,
        description="numbers that become the code of a kernel",
        kernels={"erf": erf, "sigmoid": sigmoid},
    )
)
