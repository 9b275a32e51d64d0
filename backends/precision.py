"""Precision of float32 matrix products, for backends whose hardware has a choice."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from portanet.checks import check_choice

MatmulPrecision = Literal["float32", "tf32", "bfloat16"]
_global_precision: MatmulPrecision = "float32"
_local_precision: ContextVar[MatmulPrecision | None] = ContextVar("local_precision", default=None)


def set_float32_matmul_precision(precision: MatmulPrecision) -> None:
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
    >>> set_float32_matmul_precision("tf32")
    >>> get_float32_matmul_precision()
    'tf32'
    >>> set_float32_matmul_precision("float32")
    """
    global _global_precision
    _global_precision = check_float32_matmul_precision("precision", precision)


@contextmanager
def float32_matmul_precision_as(precision: MatmulPrecision) -> Iterator[None]:
    """Context manager: set the precision of this thread, in place of :func:`set_float32_matmul_precision`."""
    token = _local_precision.set(precision)
    try:
        yield
    finally:
        _local_precision.reset(token)


def get_float32_matmul_precision() -> MatmulPrecision:
    """Return the precision that is set."""
    return _local_precision.get() or _global_precision


def check_float32_matmul_precision(name: str, precision: MatmulPrecision) -> MatmulPrecision:
    """Return ``precision``, or raise ValueError with the argument's name if it is unknown."""
    check_choice(name, precision, choices=get_args(MatmulPrecision))
    return precision
