"""How exactly float32 matrices are multiplied: a choice that backends read where their hardware leaves one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

Float32Matmul = Literal["float32", "tf32", "bfloat16"]
_chosen: Float32Matmul = "float32"
_meanwhile: ContextVar[Float32Matmul | None] = ContextVar("meanwhile", default=None)


def set_float32_matmul(precision: Float32Matmul) -> None:
    """
    Choose how exactly float32 matrices are multiplied on a GPU, in convolutions too.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16"}
        "float32", the default, keeps all 24 bits of both factors. "tf32" may round them to 11 bits and "bfloat16" to 8,
        as the products are computed: sums, results and all else stay float32, and so does the range of the numbers.
        GPUs from compute capability 8.0 on have units for either that are several times as fast. CPUs, and float64,
        take no notice.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> set_float32_matmul("tf32")
    >>> float32_matmul()
    'tf32'
    >>> set_float32_matmul("float32")
    """
    global _chosen
    _chosen = check_float32_matmul("precision", precision)


@contextmanager
def float32_matmul_as(precision: Float32Matmul) -> Iterator[None]:
    """Choose so for what this thread computes meanwhile, whatever :func:`set_float32_matmul` was given."""
    token = _meanwhile.set(precision)
    try:
        yield
    finally:
        _meanwhile.reset(token)


def float32_matmul() -> Float32Matmul:
    """Return what is chosen here and now."""
    return _meanwhile.get() or _chosen


def check_float32_matmul(name: str, precision: Float32Matmul) -> Float32Matmul:
    """Refuse what is no choice."""
    if precision not in get_args(Float32Matmul):
        raise ValueError(f"{name} must be 'float32', 'tf32' or 'bfloat16', got {precision!r}")
    return precision
