"""Matrix products: of a batch with weights, and into an existing array."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


def as_rows(x: Array) -> Array:
    """
    Return an array as a matrix: the last axis stays, all others become one.

    Examples
    --------
    >>> as_rows(np.ones((5, 4, 3))).shape
    (20, 3)
    """
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


@kernel
def linear(x: Array, w: Array) -> Array:
    """
    Product ``x w`` of a batch, (N, I), and a matrix, (I, O): shape (N, O).

    A backend may return it in Fortran order if ``x`` is.

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
    Overwrite ``out``, shape (M, N), with the matrix product ``a b`` of shapes (M, K) and (K, N).

    Examples
    --------
    >>> out = np.zeros((1, 1))
    >>> matmul_into(out, np.asarray([[1.0, 2.0]]), np.asarray([[3.0], [4.0]]))
    >>> out
    array([[11.]])
    """
    out[...] = namespace(out).matmul(a, b)
