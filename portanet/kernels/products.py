"""Matrix products: of a batch, and those whose result has its place already."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def linear(x: Array, w: Array) -> Array:
    """
    Each row of a batch times a matrix; a backend may lay the result in memory as the batch lies.

    Examples
    --------
    >>> linear(np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([[1.0], [10.0]]))
    array([[21.],
           [43.]])
    """
    return namespace(x).matmul(x, w)


@kernel
def matmul_into(out: Array, a: Array, b: Array) -> None:
    """
    Overwrite a matrix with the product of two others.

    Examples
    --------
    >>> out = np.zeros((1, 1))
    >>> matmul_into(out, np.asarray([[1.0, 2.0]]), np.asarray([[3.0], [4.0]]))
    >>> out
    array([[11.]])
    """
    out[...] = namespace(out).matmul(a, b)
