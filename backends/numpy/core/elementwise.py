"""
Elementwise functions as programs of the core.

A few hundred numbers at a time go through all operations of an activation or a loss, which therefore reads and writes
memory once, on all threads.

A function is traced once for each class and each set of attributes of its layer or loss.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled, memory
from portanet.backends.numpy.core.memory import empty_like
from portanet.backends.numpy.layout import in_layout_of, is_dense, memory_order
from portanet.backends.tracing import Operand, Step, Traced, trace
from portanet.kernels.elementwise import scaled_by

MAX_VALUES = 256
"""Most arguments, constants and steps of a program: their numbers are bytes."""

PLAIN = {bool, int, float, str, type(None)}
"""Types of attributes that a program may depend on: another object may change and keep its hash."""

_PLACEMENT = {"_flat", "_topology"}
"""Attributes of a layer that say where its weights are."""

OPERATIONS: Mapping[str, int] = {name: number for number, name in enumerate(compiled.operation_names().split(", "))}
"""Numbers of the core's operations."""


class Program(NamedTuple):
    """Operations and constants, for arguments in the order of ``names``."""

    code: tuple[bytes, tuple[float, ...]]
    names: tuple[str, ...]

    def __call__(self, out: np.ndarray, **arguments: Any) -> None:
        """Write the result to ``out``; all arrays have its shape, dtype and memory order."""
        compiled.run_program(
            self.code, tuple([memory_order(arguments[name]) for name in self.names]), memory_order(out)
        )


def compile_steps(steps: Sequence[Step], names: Sequence[str]) -> Program | None:
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
    return Program((bytes(code), tuple(constants)), tuple(names))


def _square_as_product(step: Step) -> Step:
    base, *exponent = step.operands
    return Step("multiply", (base, base), step.boolean) if (step.operation, exponent) == ("power", [2.0]) else step


def _traced(
    function: Callable[..., Any], owner: Any, settings: tuple[Any, ...], dtype: np.dtype[Any], *, has_other: bool
) -> Traced | None:
    """Trace a method of an object with some attributes."""
    holder: Any = object.__new__(owner)
    vars(holder).update(settings)
    return trace(function.__get__(holder), dtype, has_other=has_other)


@lru_cache(maxsize=256)
def _programs(
    function: Callable[..., Any], owner: Any, settings: tuple[Any, ...], dtype: np.dtype[Any], has_other: bool
) -> tuple[Program, Program, bool] | None:
    """
    Programs of an elementwise method's output and of ``dy`` times its derivative, and whether that takes the output.

    ``settings`` are the names and values of the attributes of the method's object.
    """
    traced = _traced(function, owner, settings, dtype, has_other=has_other)
    if traced is None:
        return None
    arguments = ("x", "other") if has_other else ("x",)
    output = compile_steps(traced.output, arguments)
    product = Step("multiply", (len(traced.derivative) - 1, "dy"), boolean=False)
    gradient = compile_steps((*traced.derivative, product), (*arguments, "dy"))
    return None if output is None or gradient is None else (output, gradient, traced.from_output)


@lru_cache(maxsize=256)
def _mean_program(
    function: Callable[..., Any], owner: Any, settings: tuple[Any, ...], dtype: np.dtype[Any]
) -> Program | None:
    """Program of two results, the derivative and the function itself; arguments as of :func:`_programs`."""
    traced = _traced(function, owner, settings, dtype, has_other=True)
    if traced is None:
        return None
    n = len(traced.output)

    def shifted(operand: Operand) -> Operand:
        if operand == "x" and traced.from_output:
            return n - 1
        return operand + n if isinstance(operand, int) else operand

    derivative = [step._replace(operands=tuple(map(shifted, step.operands))) for step in traced.derivative]
    return compile_steps((*traced.output, *derivative, Step("copy", (n - 1,), boolean=False)), ("x", "other"))


class Pullback:
    """``dy -> dx = dy f'(x)``; the derivative is computed from what is ``saved``, x or y."""

    def __init__(self, gradient: Program, saved: np.ndarray, other: np.ndarray | None = None):
        self.gradient, self.saved, self.other = gradient, saved, other

    def __call__(self, dy: Any) -> np.ndarray:
        dx = empty_like(self.saved)
        self.gradient(dx, x=self.saved, other=self.other, dy=in_layout_of(np.asarray(dy, self.saved.dtype), self.saved))
        return dx


def elementwise(
    x: np.ndarray, fn: Callable[..., Any], t: np.ndarray | None = None
) -> tuple[np.ndarray, Callable[[Any], Any]]:
    """See :func:`portanet.kernels.elementwise`."""
    programs = None
    if x.size >= memory.MIN_ELEMENTS and x.flags.aligned and is_dense(x) and (t is None or t.shape == x.shape):
        programs = programs_of(fn, x.dtype, has_other=t is not None)
    if programs is None:
        portable: tuple[np.ndarray, Callable[[Any], Any]] = kernels.elementwise.portable(x, fn, t)
        return portable
    output, gradient, from_output = programs
    y, other = empty_like(x), None if t is None else in_layout_of(np.asarray(t, x.dtype), x)
    output(y, x=x, other=other)
    return y, Pullback(gradient, y if from_output else x, other)


def mean_elementwise(x: np.ndarray, fn: Callable[..., Any], t: np.ndarray) -> tuple[Any, Callable[[Any], Any]]:
    """Compute mean and gradient in one pass over memory."""
    program = None
    if x.size and x.shape == t.shape and x.dtype == t.dtype and x.flags.aligned and is_dense(x):
        program = _program_of(_mean_program, fn, x.dtype)
    if program is None:
        result: tuple[Any, Callable[[Any], Any]] = kernels.mean_elementwise.portable(x, fn, t)
        return result
    mean, gradient = np.empty((), x.dtype), empty_like(x)
    arguments = memory_order(x), memory_order(in_layout_of(t, x))
    compiled.mean_of_program(program.code, arguments, memory_order(gradient), mean)
    return mean[()], scaled_by(gradient)


def programs_of(
    fn: Callable[..., Any], dtype: np.dtype[Any], *, has_other: bool = False
) -> tuple[Program, Program, bool] | None:
    """Return the programs of a method, see :func:`_programs`, or None if the core cannot run it."""
    programs: tuple[Program, Program, bool] | None = _program_of(_programs, fn, dtype, has_other)
    return programs


def _program_of(make: Callable[..., Any], fn: Callable[..., Any], dtype: np.dtype[Any], *options: bool) -> Any:
    """Return what ``make`` makes of a method, or None if it belongs to no object of plain attributes."""
    method: Any = fn
    owner = getattr(fn, "__self__", None)
    if owner is None or dtype.char not in "fd" or not dtype.isnative:
        return None
    settings = []
    for item in vars(owner).items():
        if item[0] in _PLACEMENT:
            continue
        if type(item[1]) not in PLAIN:
            return None
        settings.append(item)
    kind: Any = type(owner)
    return make(method.__func__, kind, tuple(settings), dtype, *options)
