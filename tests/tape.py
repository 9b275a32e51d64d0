"""
A graph recorder without a GPU: what array-api-strict computes is written on a tape, and computed again from it.

As with CUDA graphs, recording changes no array, a replay runs no Python of the step, results have the addresses they
were recorded with, and numbers that are no arrays are those of the recording for ever.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import array_api_strict as strict
import numpy as np

Array = type(strict.asarray(0.0))
READS = ("__bool__", "__float__", "__int__", "__index__", "__complex__")
IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__ifloordiv__", "__imod__")
OPERATORS = [name for name in vars(Array) if name.startswith("__") and callable(getattr(Array, name))]
NOT_COMPUTED = {*READS, "__init__", "__new__", "__class__", "__repr__", "__str__", "__hash__", "__array_namespace__"}


class Tape:
    """Operations in order, each with its arguments and what came of it."""

    def __init__(self) -> None:
        self.operations: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []
        self.before: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.depth = 0

    def wrap(self, function: Callable[..., Any], in_place: bool = False) -> Callable[..., Any]:
        @wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self.depth:  # a part of an operation that is on the tape as a whole
                return function(*args, **kwargs)
            if in_place:
                self._keep(args[0]._array)
            self.depth += 1
            try:
                result = function(*args, **kwargs)
            finally:
                self.depth -= 1
            self.operations.append((function, args, kwargs, None if in_place else result))
            return result

        return recorded

    def _keep(self, memory: np.ndarray) -> None:
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        self.before.setdefault(id(memory), (memory, memory.copy()))

    def restore(self) -> None:
        for memory, values in self.before.values():
            memory[...] = values

    def replay(self) -> None:
        for function, args, kwargs, result in self.operations:
            _write(result, function(*args, **kwargs))


def _write(there: Any, values: Any) -> None:
    if isinstance(there, Array):
        if there._array.flags.writeable:  # else a view of what is written
            there._array[...] = values._array
    elif isinstance(there, (tuple, list)):
        for one, other in zip(there, values, strict=True):
            _write(one, other)


def capture(
    step: Callable[[], Any], n: int = 1, n_expected: int = 1, share_pool_with: Callable[[], None] | None = None
) -> Callable[[], None]:
    """Record n steps, as :attr:`portanet.backends.Backend.capture` says."""
    tape = Tape()
    with _patched(tape):
        try:
            for _ in range(n):
                step()
        finally:
            tape.restore()
    return tape.replay


@contextmanager
def _patched(tape: Tape) -> Iterator[None]:
    def refusing(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Any) -> Any:
            if not tape.depth:
                raise RuntimeError("a number was read back while a step was recorded")
            return method(self)

        return read

    functions = {
        name: value
        for name, value in vars(strict).items()
        if callable(value) and not isinstance(value, type) and not name.startswith(("_", "set_", "reset_", "get_"))
    }
    methods = {name: vars(Array)[name] for name in OPERATORS if name not in NOT_COMPUTED}
    properties = {name: vars(Array)[name] for name in ("T", "mT")}
    reads = {name: vars(Array)[name] for name in READS}
    for name, function in functions.items():
        setattr(strict, name, tape.wrap(function))
    for name, method in methods.items():
        setattr(Array, name, tape.wrap(method, in_place=name in IN_PLACE))
    for name, value in properties.items():
        setattr(Array, name, property(tape.wrap(value.fget)))
    for name, method in reads.items():
        setattr(Array, name, refusing(method))
    try:
        yield
    finally:
        for owner, old in ((strict, functions), (Array, {**methods, **properties, **reads})):
            for name, value in old.items():
                setattr(owner, name, value)
