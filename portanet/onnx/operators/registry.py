"""The table of operators: which function computes an operator of a name, in a version of the operator set."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

Compute: TypeAlias = Callable[..., Any]
"""
``compute(xp, *inputs, **attributes)`` returns one output, or a tuple of several.

Parameters have ONNX's names: what is an attribute in one version and an input in the next is one parameter. An input
that is left out is None. A parameter ``n_outputs`` gets the number of outputs that the graph asks for.
"""

OBSOLETE = ("consumed_inputs",)
"""Attributes of old operator sets that change no result."""


@dataclass(frozen=True)
class Operator:
    """
    One version of an operator.

    Parameters
    ----------
    name : str
    since : int
        First version of the operator set in which it holds.
    compute : callable
        See :data:`Compute`.
    """

    name: str
    since: int
    compute: Compute

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Inputs and attributes by name."""
        return inspect.signature(self.compute).parameters

    def has_attribute(self, name: str) -> bool:
        """Whether an attribute is known, or changes no result."""
        any_name = any(p.kind is p.VAR_KEYWORD for p in self.parameters.values())
        return any_name or name in self.parameters or name in OBSOLETE

    def __call__(self, xp: Any, inputs: list[Any], attributes: dict[str, Any], n_outputs: int) -> tuple[Any, ...]:
        """Compute the outputs of a node."""
        if "n_outputs" in self.parameters:
            attributes = {**attributes, "n_outputs": n_outputs}
        outputs = self.compute(xp, *inputs, **attributes)
        return outputs if isinstance(outputs, tuple) else (outputs,)


OPERATORS: dict[tuple[str, str], list[Operator]] = {}
"""All versions of each operator, by domain and name; the domain of ONNX itself is ""."""


def operator(*names: str, since: int = 1, domain: str = "") -> Callable[[Compute], Compute]:
    """
    Add a function to the table, for operators from a version of the operator set on.

    Examples
    --------
    >>> @operator("Twice", domain="example")
    ... def twice(xp, x):
    ...     return x + x
    >>> find_operator("example", "Twice", 3)(np, [1], {}, 1)
    (2,)
    """

    def add(compute: Compute) -> Compute:
        for name in names:
            OPERATORS.setdefault((domain, name), []).append(Operator(name, since, compute))
        return compute

    return add


def find_operator(domain: str, name: str, version: int) -> Operator | None:
    """Return the operator in a version of the operator set; None if PortaNet has none."""
    versions = OPERATORS.get(("" if domain == "ai.onnx" else domain, name), [])
    return max((v for v in versions if v.since <= version), key=lambda v: v.since, default=None)
