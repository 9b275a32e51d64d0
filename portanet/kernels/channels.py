"""Numbers that belong to a channel: added to all its places, or summed over them."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def add_to_channels(x: Array, numbers: Array) -> None:
    """
    Add a number to each channel, in place: a bias.

    Examples
    --------
    >>> x = np.zeros((1, 2, 3))
    >>> add_to_channels(x, np.asarray([1.0, 2.0, 3.0]))
    >>> x
    array([[[1., 2., 3.],
            [1., 2., 3.]]])
    """
    x += numbers


@kernel
def channel_sums(x: Array) -> Array:
    """
    Sum over all axes but the last, shape (C,): the gradient of a bias.

    Examples
    --------
    >>> channel_sums(np.ones((2, 3, 4)))
    array([6., 6., 6., 6.])
    """
    return namespace(x).sum(x, axis=tuple(range(x.ndim - 1)))
