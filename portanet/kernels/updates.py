"""Optimizer steps on flat arrays, in place."""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

TINY = 1e-30
"""Divisor of an array of zeros."""


@kernel
def adam(  # noqa: PLR0917 (positional, like the overrides)
    data: Array,
    grad: Array,
    grad_sum: Array,
    square_sum: Array,
    step: Array,
    lr: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """
    One step of Adam: ``data -= lr m / (√v + eps)``.

    The state is two decayed sums, ``grad_sum = β1 grad_sum + grad`` and ``square_sum = β2 square_sum + grad²``. The
    bias-corrected means of Adam are proportional to them: ``m = grad_sum (1 - β1) / (1 - β1ᵗ)`` and
    ``v = square_sum (1 - β2) / (1 - β2ᵗ)`` after t steps.

    Parameters
    ----------
    data, grad_sum, square_sum : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    step : array of float, shape ()
        Number of steps before this one; incremented in place.
    lr : array of float, shape ()
        Learning rate.
    betas : tuple of two floats
        Decay factors β1 and β2, rounded to the dtype of the sums.
    eps : float
        Added to the root.

    Examples
    --------
    >>> w, grad_sum, square_sum = np.asarray([1.0]), np.zeros(1), np.zeros(1)
    >>> adam(w, np.asarray([2.0]), grad_sum, square_sum, np.asarray(0.0), np.asarray(0.25), (0.5, 0.75), 0.0)
    >>> w, grad_sum, square_sum
    (array([0.75]), array([2.]), array([4.]))
    """
    xp = namespace(data)
    step += 1.0
    grad_sum *= betas[0]
    grad_sum += grad
    square_sum *= betas[1]
    square_sum += grad * grad
    # expm1 keeps 1 - βᵗ exact in float32 for a β near 1. The factors scale the scalars lr and eps, not arrays.
    factor1, factor2 = ((1 - b) / -xp.expm1(step * math.log(b)) if b else xp.ones_like(step) for b in betas)
    root = xp.sqrt(factor2)
    data -= lr * factor1 / root * grad_sum / (xp.sqrt(square_sum) + eps / root)


@kernel
def sgd(  # noqa: PLR0917
    data: Array, grad: Array, velocity: Array | None, lr: Array, momentum: float, nesterov: bool
) -> None:
    """
    One step of gradient descent, with or without momentum, as in PyTorch.

    ``data -= lr grad`` without momentum. With momentum, ``velocity = momentum velocity + grad`` and
    ``data -= lr velocity``, or ``data -= lr (grad + momentum velocity)`` with Nesterov's method.

    Parameters
    ----------
    data : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    velocity : array of float, shape (N,), optional
        Changed in place; None if the momentum is 0.
    lr : array of float, shape ()
        Learning rate.
    momentum : float
        Decay factor of the velocity.
    nesterov : bool
        Whether to use Nesterov's method.

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
    data -= lr * grad


@kernel
def rmsprop(  # noqa: PLR0917
    data: Array,
    grad: Array,
    square: Array,
    mean: Array | None,
    velocity: Array | None,
    lr: Array,
    rho: float,
    momentum: float,
    eps: float,
) -> None:
    """
    One step of RMSprop: ``data -= lr grad / (√square + eps)``, where ``square`` is a running mean of ``grad²``.

    Parameters
    ----------
    data, square : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    mean : array of float, shape (N,), optional
        Running mean of the gradient for the centered form, changed in place: ``square - mean²`` replaces ``square``.
    velocity : array of float, shape (N,), optional
        Changed in place to ``momentum velocity + grad / (√square + eps)``, which replaces the change of the data.
        None if the momentum is 0.
    lr : array of float, shape ()
        Learning rate.
    rho, momentum : float
        Decay factors of the running means, and of the velocity.
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
        variance = xp.maximum(square - mean * mean, 0.0)  # rounding may make it negative
    change = grad / (xp.sqrt(variance) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += change
        change = velocity
    data -= lr * change


@kernel
def adagrad(data: Array, grad: Array, square: Array, lr: Array, eps: float) -> None:
    """
    One step of Adagrad: ``square += grad²``, ``data -= lr grad / (√square + eps)``.

    Parameters
    ----------
    data, square : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    lr : array of float, shape ()
        Learning rate.
    eps : float
        Added to the root.

    Examples
    --------
    >>> w, square = np.asarray([1.0]), np.asarray([0.0])
    >>> adagrad(w, np.asarray([2.0]), square, np.asarray(0.5), 0.0)
    >>> w, square
    (array([0.5]), array([4.]))
    """
    square += grad * grad
    data -= lr * grad / (namespace(data).sqrt(square) + eps)


@kernel
def add_scaled(x: Array, y: Array, factor: Array | float, out: Array | None = None) -> Array:
    """
    Return ``x + factor y``, for weight decay.

    Parameters
    ----------
    x, y : array of float, shape (N,)
    factor : float or array of float, shape ()
    out : array of float, shape (N,), optional
        Array to write to; may be x or y.

    Examples
    --------
    >>> add_scaled(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), 0.5)
    array([2.5, 4. ])
    """
    result = x + factor * y
    if out is None:
        return result
    out[...] = result
    return out


@kernel
def norm(x: Array) -> Array:
    """
    Euclidean norm of a flat array, shape (); no square overflows.

    Examples
    --------
    >>> norm(np.asarray([0.0, -4e200]))
    np.float64(4e+200)
    """
    xp = namespace(x)
    largest = xp.maximum(xp.max(xp.abs(x)), TINY)
    return largest * xp.sqrt(xp.sum((x / largest) ** 2))
