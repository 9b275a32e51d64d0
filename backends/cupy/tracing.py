"""Traced elementwise functions as CUDA C++: see :mod:`portanet.backends.tracing`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from portanet.backends.tracing import Operand, Step, trace
from portanet.kernels.elementwise import ElementwiseFn

EXPRESSIONS = {
    **{"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"},
    **{"less": "{} < {}", "less_equal": "{} <= {}", "greater": "{} > {}", "greater_equal": "{} >= {}"},
    **{"equal": "{} == {}", "not_equal": "{} != {}", "where": "{} ? {} : {}", "copy": "{}"},
    **{name: f"{name}({{}})" for name in ("cos", "erfcx", "exp", "expm1", "log", "log1p", "sin", "sqrt", "tanh")},
    "power": "pow({}, {})",
    "abs": "fabs({})",
    "sign": "{0} != {0} ? {0} : (T)(({0} > 0) - ({0} < 0))",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "sigmoid": "1 / (1 + exp(-{}))",  # where exp overflows, this is 0
    "as_number": "(T){}",
    "as_boolean": "(bool){}",
}
"""Operations in C++."""

ARGUMENTS = {"x": "x[i]", "other": "other[i]"}


def macros(steps: Sequence[Step]) -> dict[str, int | str]:
    """
    Write steps as the statements of a kernel, and the name of its result.

    Examples
    --------
    >>> macros(trace(lambda xp, x: (xp.tanh(x), lambda: 1 - x * x), np.dtype("float32")).derivative)
    {'STATEMENTS': 'const T v0 = x[i] * x[i]; const T v1 = (T)1.0 - v0;', 'RESULT': 'v1'}
    """
    statements = []
    for i, step in enumerate(steps):
        expression = EXPRESSIONS[step.operation].format(*map(_operand, step.operands))
        statements.append(f"const {'bool' if step.boolean else 'T'} v{i} = {expression};")
    return {"STATEMENTS": " ".join(statements), "RESULT": f"v{len(steps) - 1}"}


def _operand(operand: Operand) -> str:
    if isinstance(operand, str):
        return ARGUMENTS[operand]
    return f"(T){operand!r}" if isinstance(operand, float) else f"v{operand}"


class TracedFn(NamedTuple):
    """
    Macros that compute an elementwise function and its derivative in CUDA C++.

    Parameters
    ----------
    output, derivative : dict of str to str
        Macros of the kernels in :mod:`portanet.backends.cupy.elementwise`.
    from_output : bool
        Whether the derivative is computed from the output instead of x.

    Examples
    --------
    >>> traced = TracedFn.trace(portanet.TanH().elementwise, np.dtype("float32"))
    >>> traced.output
    {'STATEMENTS': 'const T v0 = tanh(x[i]);', 'RESULT': 'v0'}
    >>> traced.derivative, traced.from_output
    ({'STATEMENTS': 'const T v0 = x[i] * x[i]; const T v1 = (T)1.0 - v0;', 'RESULT': 'v1'}, True)
    """

    output: dict[str, int | str]
    derivative: dict[str, int | str]
    from_output: bool

    @classmethod
    def trace(cls, fn: ElementwiseFn, dtype: Any, *, has_other: bool = False) -> "TracedFn | None":
        """Return None if the function does what symbols do not support; on arrays it may run."""
        traced = trace(fn, dtype, has_other=has_other)
        return None if traced is None else cls(macros(traced.output), macros(traced.derivative), traced.from_output)
