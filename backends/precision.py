"""How exactly float32 matrices are multiplied: a choice that backends read where their hardware leaves one."""

from typing import Literal, get_args

Float32Matmul = Literal["float32", "tf32"]
_chosen: Float32Matmul = "float32"


def set_float32_matmul(precision: Float32Matmul) -> None:
    """
    Choose how exactly float32 matrices are multiplied on a GPU, in convolutions too.

    Parameters
    ----------
    precision : {"float32", "tf32"}
        "float32", the default, keeps all 24 bits of both factors. "tf32" rounds them to 11 bits, with sums in float32:
        GPUs from compute capability 8.0 on have units for it that are several times as fast. CPUs, and float64, take no
        notice.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> set_float32_matmul("tf32")
    >>> float32_matmul()
    'tf32'
    >>> set_float32_matmul("float32")
    """
    global _chosen
    if precision not in get_args(Float32Matmul):
        raise ValueError(f"precision must be 'float32' or 'tf32', got {precision!r}")
    _chosen = precision


def float32_matmul() -> Float32Matmul:
    """Return what :func:`set_float32_matmul` was last given."""
    return _chosen
