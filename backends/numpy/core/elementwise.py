"""
Elementwise functions as programs of the core.

A few hundred numbers at a time go through all operations of an activation or a loss, which therefore reads and writes
memory once, on all threads.

A function is traced at its first call, and again when an attribute of its layer or loss has changed.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.layout import in_layout_of, is_batch_last, memory_order
from portanet.backends.tracing import Operand, Step, trace

MIN_ELEMENTS = 4096
"""Fewest numbers for which a program is faster than NumPy's operations one by one."""

_NAMES = (
    *("add", "subtract", "multiply", "divide", "negative", "abs", "sign", "maximum", "minimum"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "where", "as_number", "as_boolean"),
    *("sqrt", "sin", "cos", "erf", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "copy"),
)
MAX_VALUES = 256
"""Most arguments, constants and steps of a program: their numbers are bytes."""

OPERATIONS = {name: number for number, name in enumerate(_NAMES)}
"""Operations of the core by name: their numbers in kernels.hpp."""


class _Program(NamedTuple):
    """Operations and constants, for arguments in the order of ``names``."""

    operations: bytes
    constants: tuple[float, ...]
    names: tuple[str, ...]

    def __call__(self, out: np.ndarray, **arguments: np.ndarray) -> None:
        """Write the result to ``out``; all arrays have its shape, dtype and memory order."""
        compiled.run_program(
            self.operations,
            self.constants,
            tuple(memory_order(arguments[name]) for name in self.names),
            memory_order(out),
        )


def _compile(steps: tuple[Step, ...], names: tuple[str, ...]) -> _Program | None:
    """Return the program of some steps, or None if it is too long, or has a power other than a square."""
    steps = tuple(map(_square_as_product, steps))
    if any(step.operation not in OPERATIONS for step in steps):
        return None
    constants = list(dict.fromkeys(o for step in steps for o in step.operands if isinstance(o, float)))
    first_step = len(names) + len(constants)
    if first_step + len(steps) > MAX_VALUES:
        return None

    def value(operand: Operand) -> int:
        if isinstance(operand, str):
            return names.index(operand)
        return len(names) + constants.index(operand) if isinstance(operand, float) else first_step + operand

    code = bytearray()
    for step in steps:
        values = list(map(value, step.operands))
        code += bytes((OPERATIONS[step.operation], *values, *[0] * (3 - len(values))))
    return _Program(bytes(code), tuple(constants), names)


def _square_as_product(step: Step) -> Step:
    base, *exponent = step.operands
    return Step("multiply", (base, base), step.boolean) if (step.operation, exponent) == ("power", [2.0]) else step


@lru_cache(maxsize=256)
def _programs(
    function: Callable[..., Any], owner: Any, settings: tuple[Any, ...], dtype: np.dtype[Any], has_other: bool
) -> tuple[_Program, _Program, bool] | None:
    """
    Programs of an elementwise method's output and of ``dy`` times its derivative, and whether that takes the output.

    ``settings`` are the names and values of the attributes of the method's object.
    """
    holder: Any = object.__new__(owner)
    vars(holder).update(settings)
    traced = trace(function.__get__(holder), dtype, has_other=has_other)
    if traced is None:
        return None
    arguments = ("x", "other") if has_other else ("x",)
    output = _compile(traced.output, arguments)
    product = Step("multiply", (len(traced.derivative) - 1, "dy"), boolean=False)
    gradient = _compile((*traced.derivative, product), (*arguments, "dy"))
    return None if output is None or gradient is None else (output, gradient, traced.from_output)


def elementwise(
    x: np.ndarray, fn: Callable[..., Any], t: np.ndarray | None = None
) -> tuple[np.ndarray, Callable[[Any], Any]]:
    """See :func:`portanet.kernels.elementwise`."""
    programs = _find(x, fn, t) if x.size >= MIN_ELEMENTS else None
    if programs is None:
        result: tuple[np.ndarray, Callable[[Any], Any]] = kernels.elementwise.portable(x, fn, t)
        return result
    output, gradient, from_output = programs
    y = np.empty_like(x)
    others = {} if t is None else {"other": in_layout_of(t, x)}
    output(y, x=x, **others)
    saved = y if from_output else x

    def pullback(dy: Any) -> Any:
        dx = np.empty_like(saved)
        gradient(dx, x=saved, dy=in_layout_of(dy, saved), **others)
        return dx

    return y, pullback


def _find(x: np.ndarray, fn: Callable[..., Any], t: np.ndarray | None) -> tuple[_Program, _Program, bool] | None:
    """Return the programs of a method on arrays that the core takes."""
    method: Any = fn
    owner = getattr(fn, "__self__", None)
    ordered = x.flags.c_contiguous or x.flags.f_contiguous or is_batch_last(x)
    if owner is None or not ordered or x.dtype.char not in "fd" or (t is not None and t.shape != x.shape):
        return None
    try:
        kind: Any = type(owner)
        return _programs(method.__func__, kind, tuple(vars(owner).items()), x.dtype, t is not None)
    except TypeError:  # an attribute that cannot be hashed
        return None
