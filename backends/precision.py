"""Precision of float32 matrix products, for backends whose hardware has a choice."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

Float32Matmul = Literal["float32", "tf32", "bfloat16"]
_global_precision: Float32Matmul = "float32"
_local_precision: ContextVar[Float32Matmul | None] = ContextVar("local_precision", default=None)


def set_float32_matmul(precision: Float32Matmul) -> None:
    """
    Set the precision of float32 matrix products on a GPU, also in convolutions.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16"}
        "float32", the default, keeps all 24 significant bits of both factors. "tf32" may round them to 11 bits, and
        "bfloat16" to 8; the exponent range, the sums and the results stay those of float32. On GPUs of compute
        capability 8.0 or higher, both are several times faster. CPUs and float64 ignore the setting.

    Raises
    ------
    ValueError
        If ``precision`` is none of these.

    Examples
    --------
    >>> set_float32_matmul("tf32")
    >>> float32_matmul()
    'tf32'
    >>> set_float32_matmul("float32")
    """
    global _global_precision
    _global_precision = check_float32_matmul("precision", precision)


@contextmanager
def float32_matmul_as(precision: Float32Matmul) -> Iterator[None]:
    """Context manager: set the precision for the current thread, in place of that of :func:`set_float32_matmul`."""
    token = _local_precision.set(precision)
    try:
        yield
    finally:
        _local_precision.reset(token)


def float32_matmul() -> Float32Matmul:
    """Return the precision that is set."""
    return _local_precision.get() or _global_precision


def check_float32_matmul(name: str, precision: Float32Matmul) -> Float32Matmul:
    """Return ``precision``, or raise ValueError with the argument's name if it is unknown."""
    if precision not in get_args(Float32Matmul):
        raise ValueError(f"{name} must be 'float32', 'tf32' or 'bfloat16', got {precision!r}")
    return precision
