"""Steps of optimizers on flat arrays, each in place."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def adam(  # noqa: PLR0917 (arrays, as everywhere here, and what a GPU kernel takes)
    data: Array, grad: Array, mean: Array, square: Array, rate: Array, eps: Array, betas: tuple[float, float]
) -> None:
    """
    Move the running means towards the gradient and its square, and the data by ``rate mean / (√square + eps)``.

    Parameters
    ----------
    data, mean, square : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    rate, eps : array of float, shape ()
        With the correction of the means' start at zero in them.
    betas : tuple of two floats
        Shares of the running means that are kept.

    Examples
    --------
    >>> w, mean, square = np.asarray([1.0]), np.zeros(1), np.zeros(1)
    >>> adam(w, np.asarray([2.0]), mean, square, np.asarray(0.1), np.asarray(0.0), (0.5, 0.75))
    >>> w, mean, square
    (array([0.9]), array([1.]), array([1.]))
    """
    mean += (1 - betas[0]) * (grad - mean)
    square += (1 - betas[1]) * (grad * grad - square)
    data -= rate * mean / (namespace(data).sqrt(square) + eps)
