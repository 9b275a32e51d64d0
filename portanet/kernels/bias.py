"""Numbers that belong to a channel: added to all its places, or summed over them."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def bias_add(x: Array, numbers: Array) -> None:
    """
    Add a number to each channel, in place: a bias.

    Examples
    --------
    >>> x = np.zeros((1, 2, 3))
    >>> bias_add(x, np.asarray([1.0, 2.0, 3.0]))
    >>> x
    array([[[1., 2., 3.],
            [1., 2., 3.]]])
    """
    x += numbers


@kernel
def bias_grad(x: Array, out: Array | None = None) -> Array:
    """
    Sum over all axes but the last, shape (C,): the gradient of a bias.

    Parameters
    ----------
    x : array, shape (..., C)
    out : array of the same dtype, shape (C,), optional
        Overwritten and returned.

    Examples
    --------
    >>> bias_grad(np.ones((2, 3, 4)))
    array([6., 6., 6., 6.])
    """
    sums = namespace(x).sum(x, axis=tuple(range(x.ndim - 1)))
    if out is None:
        return sums
    out[...] = sums
    return out
