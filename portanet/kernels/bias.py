"""A bias for each channel, and its gradient."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def bias_add(x: Array, bias: Array) -> None:
    """
    Add a bias to each channel in place: ``x[..., c] += bias[c]``.

    Parameters
    ----------
    x : array, shape (..., C)
        Changed in place.
    bias : array, shape (C,)

    Examples
    --------
    >>> x = np.zeros((1, 2, 3))
    >>> bias_add(x, np.asarray([1.0, 2.0, 3.0]))
    >>> x
    array([[[1., 2., 3.],
            [1., 2., 3.]]])
    """
    x += bias


@kernel
def bias_grad(dy: Array, out: Array | None = None) -> Array:
    """
    Gradient of a bias: the sum of ``dy`` over all axes but the last, shape (C,).

    Parameters
    ----------
    dy : array, shape (..., C)
    out : array of the same dtype, shape (C,), optional
        Overwritten and returned.

    Examples
    --------
    >>> bias_grad(np.ones((2, 3, 4)))
    array([6., 6., 6., 6.])
    """
    sums = namespace(dy).sum(dy, axis=tuple(range(dy.ndim - 1)))
    if out is None:
        return sums
    out[...] = sums
    return out
