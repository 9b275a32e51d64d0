"""Steps of optimizers on flat arrays, each in place."""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def adam(  # noqa: PLR0917 (arrays, as everywhere here, and what a GPU kernel takes)
    data: Array,
    grad: Array,
    gradients: Array,
    squares: Array,
    step: Array,
    rate: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """
    Add the gradient and its square to fading sums, and move the data by ``-rate m / (√v + eps)``.

    Here m and v are the means that the sums stand for: ``(1 - β) / (1 - βᵗ)`` of each after t steps, which corrects
    for their start at zero.

    Parameters
    ----------
    data, gradients, squares : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    step : array of float, shape ()
        Steps before this one; changed in place.
    rate : array of float, shape ()
    betas : tuple of two floats
        Shares of the sums that are kept, as their dtype rounds them.
    eps : float
        Added to the root.

    Examples
    --------
    >>> w, gradients, squares = np.asarray([1.0]), np.zeros(1), np.zeros(1)
    >>> adam(w, np.asarray([2.0]), gradients, squares, np.asarray(0.0), np.asarray(0.25), (0.5, 0.75), 0.0)
    >>> w, gradients, squares
    (array([0.75]), array([2.]), array([4.]))
    """
    xp = namespace(data)
    step += 1.0
    gradients *= betas[0]
    gradients += grad
    squares *= betas[1]
    squares += grad * grad
    # The divisor is exact in float32 also for a β near 1. Both means go into single numbers, the rate and eps.
    take1, take2 = ((1 - b) / -xp.expm1(step * math.log(b)) if b else xp.ones_like(step) for b in betas)
    root = xp.sqrt(take2)
    data -= rate * take1 / root * gradients / (xp.sqrt(squares) + eps / root)


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
