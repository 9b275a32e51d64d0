"""Matrix products whose result has its place already."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


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
