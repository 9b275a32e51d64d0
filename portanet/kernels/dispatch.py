"""How a backend overrides a kernel: by its name, on the type of the first argument."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Generic, ParamSpec, TypeVar

from portanet.backends import kernel_override

P = ParamSpec("P")
R = TypeVar("R")


class kernel(Generic[P, R]):  # noqa: N801 (it is written as a decorator)
    """
    Decorator: the portable form of a kernel, which a backend may override under the same name.

    Calling it runs the override of the first argument's backend where there is one. ``portable`` is the form below
    the decorator; every override is tested against it.
    """

    def __init__(self, portable: Callable[P, R]):
        self.portable = portable
        self.chosen: dict[type, Callable[P, R]] = {}  # one look-up by type a call, 0.02 µs
        update_wrapper(self, portable)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        kind = type(args[0])
        try:
            function = self.chosen[kind]
        except KeyError:
            function = self.chosen[kind] = kernel_override(self.portable.__name__, args[0]) or self.portable
        return function(*args, **kwargs)
