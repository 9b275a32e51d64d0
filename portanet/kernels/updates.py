"""Steps of optimizers on flat arrays, each in place."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def adam(  # noqa: PLR0917 (arrays, as everywhere here, and what a GPU kernel takes)
    data: Array, grad: Array, gradients: Array, squares: Array, rate: Array, eps: Array, betas: tuple[float, float]
) -> None:
    """
    Add the gradient and its square to fading sums, and move the data by ``-rate gradients / (√squares + eps)``.

    Parameters
    ----------
    data, gradients, squares : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    rate, eps : array of float, shape ()
        Scaled so that the sums count as means, corrected for their start at zero: single numbers for long arrays.
    betas : tuple of two floats
        Shares of the sums that are kept.

    Examples
    --------
    >>> w, gradients, squares = np.asarray([1.0]), np.zeros(1), np.zeros(1)
    >>> adam(w, np.asarray([2.0]), gradients, squares, np.asarray(0.1), np.asarray(0.0), (0.5, 0.75))
    >>> w, gradients, squares
    (array([0.9]), array([2.]), array([4.]))
    """
    gradients *= betas[0]
    gradients += grad
    squares *= betas[1]
    squares += grad * grad
    data -= rate * gradients / (namespace(data).sqrt(squares) + eps)


@kernel
def sgd(  # noqa: PLR0917
    data: Array, grad: Array, velocity: Array | None, rate: Array, momentum: float, nesterov: bool
) -> None:
    """
    Move the data by ``-rate`` times the gradient, or times a velocity that gathers it.

    Parameters
    ----------
    data : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    velocity : array of float, shape (N,), optional
        Changed in place to ``momentum velocity + grad``; none is kept for a momentum of 0.
    rate : array of float, shape ()
    momentum : float
        Share of the velocity that is kept.
    nesterov : bool
        Go where the velocity will lead: by ``grad + momentum velocity``.

    Examples
    --------
    >>> w, velocity = np.asarray([1.0]), np.asarray([4.0])
    >>> sgd(w, np.asarray([1.0]), velocity, np.asarray(0.5), 0.5, False)
    >>> w, velocity
    (array([-0.5]), array([3.]))
    """
    if velocity is not None:
        velocity *= momentum
        velocity += grad
        grad = grad + momentum * velocity if nesterov else velocity
    data -= rate * grad


@kernel
def rmsprop(  # noqa: PLR0917
    data: Array,
    grad: Array,
    square: Array,
    mean: Array | None,
    velocity: Array | None,
    rate: Array,
    rho: float,
    momentum: float,
    eps: float,
) -> None:
    """
    Move the data by ``-rate`` times the gradient over a running root of its mean square.

    Parameters
    ----------
    data, square : array of float, shape (N,)
        Changed in place; ``square`` is the running mean.
    grad : array of float, shape (N,)
    mean : array of float, shape (N,), optional
        Running mean of the gradient, changed in place; its square is taken off the mean square.
    velocity : array of float, shape (N,), optional
        Changed in place to ``momentum velocity + change``, which is then the change; none for a momentum of 0.
    rate : array of float, shape ()
    rho, momentum : float
        Shares of the running means, and of the velocity, that are kept.
    eps : float
        Added to the root.

    Examples
    --------
    >>> w, square = np.asarray([1.0]), np.asarray([0.0])
    >>> rmsprop(w, np.asarray([2.0]), square, None, None, np.asarray(0.5), 0.75, 0.0, 0.0)
    >>> w, square
    (array([0.]), array([1.]))
    """
    xp = namespace(data)
    square += (1 - rho) * (grad * grad - square)
    variance = square
    if mean is not None:
        mean += (1 - rho) * (grad - mean)
        variance = xp.maximum(square - mean * mean, 0.0)  # rounding may take it below zero
    change = grad / (xp.sqrt(variance) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += change
        change = velocity
    data -= rate * change
