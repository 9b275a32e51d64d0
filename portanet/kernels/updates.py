"""Optimizer steps on flat arrays, in place."""

import math

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

TINY = 1e-30
"""Divisor of an array of zeros."""

MIN_CURVATURE = 1e-10
"""Least product of a move and the change of the gradient for which L-BFGS keeps both, as in PyTorch."""


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
    factor1, root = _accumulate(grad, grad_sum, square_sum, step, betas)
    # The factors scale the scalars lr and eps, not arrays.
    data -= lr * factor1 / root * grad_sum / (xp.sqrt(square_sum) + eps / root)


def _accumulate(
    grad: Array, grad_sum: Array, square_sum: Array, step: Array, betas: tuple[float, float]
) -> tuple[Array, Array]:
    """Add to decayed sums; return the factor of the first one's mean, and the root of that of the second one's."""
    xp = namespace(grad)
    step += 1.0
    grad_sum *= betas[0]
    grad_sum += grad
    square_sum *= betas[1]
    square_sum += grad * grad
    # expm1 keeps 1 - βᵗ exact in float32 for a β near 1.
    factor1, factor2 = ((1 - b) / -xp.expm1(step * math.log(b)) if b else xp.ones_like(step) for b in betas)
    return factor1, xp.sqrt(factor2)


@kernel
def amsgrad(  # noqa: PLR0917
    data: Array,
    grad: Array,
    grad_sum: Array,
    square_sum: Array,
    max_square_sum: Array,
    step: Array,
    lr: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """
    One step of :func:`adam` that divides by the root of the largest ``square_sum`` so far.

    Parameters
    ----------
    data, grad, grad_sum, square_sum, step, lr, betas, eps
        See :func:`adam`.
    max_square_sum : array of float, shape (N,)
        Changed in place.

    Examples
    --------
    >>> w, grad_sum, square_sum, largest = np.asarray([1.0]), np.zeros(1), np.zeros(1), np.asarray([16.0])
    >>> scalars = np.asarray(0.0), np.asarray(0.25), (0.5, 0.75), 0.0
    >>> amsgrad(w, np.asarray([2.0]), grad_sum, square_sum, largest, *scalars)
    >>> w, square_sum, largest
    (array([0.875]), array([4.]), array([16.]))
    """
    xp = namespace(data)
    factor1, root = _accumulate(grad, grad_sum, square_sum, step, betas)
    max_square_sum[...] = xp.maximum(max_square_sum, square_sum)
    data -= lr * factor1 / root * grad_sum / (xp.sqrt(max_square_sum) + eps / root)


@kernel
def nadam(  # noqa: PLR0917
    data: Array,
    grad: Array,
    grad_sum: Array,
    square_sum: Array,
    step: Array,
    mu_product: Array,
    lr: Array,
    betas: tuple[float, float],
    momentum_decay: float,
    eps: float,
) -> None:
    """
    One step of NAdam: :func:`adam` with Nesterov's momentum, which rises towards β1.

    With ``mu(t) = β1 (1 - 0.96^(t momentum_decay) / 2)`` and M(t) the product of ``mu(1)`` to ``mu(t)``,
    ``data -= lr (grad (1 - mu(t)) / (1 - M(t)) + m mu(t + 1) / (1 - M(t + 1))) / (√v + eps)``, where
    ``m = grad_sum (1 - β1)``, and v is that of Adam.

    Parameters
    ----------
    data, grad, grad_sum, square_sum, step, lr, betas, eps
        See :func:`adam`.
    mu_product : array of float, shape ()
        M(t), 1 before the first step; changed in place.
    momentum_decay : float

    Examples
    --------
    >>> w, sums = np.asarray([1.0]), (np.zeros(1), np.zeros(1))
    >>> nadam(w, np.asarray([2.0]), *sums, np.asarray(0.0), np.asarray(1.0), np.asarray(0.25), (0.5, 0.75), 0.0, 0.0)
    >>> w.round(4)  # 0.25 (0.75 / 0.75 + 0.5 0.25 / (1 - 0.25²)) is subtracted
    array([0.7167])
    """
    xp = namespace(data)
    _, root = _accumulate(grad, grad_sum, square_sum, step, betas)
    rate = momentum_decay * math.log(0.96)
    mu, mu_next = (betas[0] * (1.0 - 0.5 * xp.exp((step + ahead) * rate)) for ahead in (0.0, 1.0))
    mu_product *= mu
    grad_factor = lr / root * (1.0 - mu) / (1.0 - mu_product)
    sum_factor = lr / root * mu_next * (1.0 - betas[0]) / (1.0 - mu_product * mu_next)
    data -= (grad_factor * grad + sum_factor * grad_sum) / (xp.sqrt(square_sum) + eps / root)


@kernel
def radam(  # noqa: PLR0917
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
    One step of RAdam: :func:`adam`, rectified for the variance of ``1 / √v``.

    With ``R = 2 / (1 - β2) - 1`` and ``ρ = R - 2 t β2ᵗ / (1 - β2ᵗ)``, the step of Adam is multiplied by
    ``√((ρ - 4) (ρ - 2) R / ((R - 4) (R - 2) ρ))`` for ρ above 5; else it is ``data -= lr m``. ``eps`` is added to the
    root of the mean square without its correction for the start at zero, as in PyTorch.

    Parameters
    ----------
    data, grad, grad_sum, square_sum, step, lr, betas, eps
        See :func:`adam`.

    Examples
    --------
    >>> w, sums = np.asarray([1.0]), (np.zeros(1), np.zeros(1))
    >>> radam(w, np.asarray([2.0]), *sums, np.asarray(0.0), np.asarray(0.25), (0.5, 0.75), 0.0)
    >>> w  # the first steps are those of gradient descent
    array([0.5])
    """
    xp = namespace(data)
    factor1, root = _accumulate(grad, grad_sum, square_sum, step, betas)
    longest = 2.0 / (1.0 - betas[1]) - 1.0
    length = xp.zeros_like(step, dtype=xp.float64)
    if betas[1]:
        t = xp.asarray(step, dtype=xp.float64)  # the difference of two numbers near 2000, for β2 = 0.999
        length = longest - 2.0 * t / xp.expm1(-t * math.log(betas[1]))
    at_least_5, most = xp.maximum(length, 5.0), max(longest, 5.0)
    rectified = xp.sqrt((at_least_5 - 4.0) * (at_least_5 - 2.0) * most / ((most - 4.0) * (most - 2.0) * at_least_5))
    scale = xp.asarray(rectified, dtype=data.dtype) / root
    adaptive = scale / (xp.sqrt(square_sum) + eps / math.sqrt(1.0 - betas[1]))
    data -= lr * factor1 * grad_sum * xp.where(length > 5.0, adaptive, 1.0)


@kernel
def adamax(  # noqa: PLR0917
    data: Array,
    grad: Array,
    grad_sum: Array,
    infinity_norm: Array,
    step: Array,
    lr: Array,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """
    One step of Adamax: ``data -= lr m / infinity_norm``.

    ``infinity_norm`` becomes the larger one of ``β2 infinity_norm`` and ``|grad| + eps``.

    Parameters
    ----------
    data, grad, grad_sum, step, lr, betas
        See :func:`adam`.
    infinity_norm : array of float, shape (N,)
        Changed in place.
    eps : float
        Added to the absolute gradient.

    Examples
    --------
    >>> w, grad_sum, largest = np.asarray([1.0]), np.zeros(1), np.asarray([4.0])
    >>> adamax(w, np.asarray([1.0]), grad_sum, largest, np.asarray(0.0), np.asarray(0.25), (0.5, 0.5), 0.0)
    >>> w, largest
    (array([0.875]), array([2.]))
    """
    xp = namespace(data)
    step += 1.0
    grad_sum *= betas[0]
    grad_sum += grad
    infinity_norm *= betas[1]
    infinity_norm[...] = xp.maximum(infinity_norm, xp.abs(grad) + eps)
    factor1 = (1 - betas[0]) / -xp.expm1(step * math.log(betas[0])) if betas[0] else 1.0
    data -= lr * factor1 * grad_sum / infinity_norm


@kernel
def lion(data: Array, grad: Array, mean: Array, lr: Array, betas: tuple[float, float]) -> None:
    """
    One step of Lion: ``data -= lr sign(β1 mean + (1 - β1) grad)``, then ``mean = β2 mean + (1 - β2) grad``.

    Parameters
    ----------
    data, mean : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    lr : array of float, shape ()
        Learning rate.
    betas : tuple of two floats
        β1 and β2.

    Examples
    --------
    >>> w, mean = np.asarray([1.0, 1.0]), np.asarray([0.0, 1.0])
    >>> lion(w, np.asarray([2.0, -0.5]), mean, np.asarray(0.25), (0.5, 0.75))
    >>> w, mean
    (array([0.75, 0.75]), array([0.5  , 0.625]))
    """
    data -= lr * namespace(data).sign(betas[0] * mean + (1 - betas[0]) * grad)
    mean += (1 - betas[1]) * (grad - mean)


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
    alpha: float,
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
    alpha, momentum : float
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
    square += (1 - alpha) * (grad * grad - square)
    variance = square
    if mean is not None:
        mean += (1 - alpha) * (grad - mean)
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
def adadelta(  # noqa: PLR0917
    data: Array, grad: Array, square: Array, square_change: Array, lr: Array, rho: float, eps: float
) -> None:
    """
    One step of Adadelta: ``data -= lr change``, where ``change = grad √(square_change + eps) / √(square + eps)``.

    ``square`` and ``square_change`` are running means of ``grad²``, with that of this step, and of ``change²``.

    Parameters
    ----------
    data, square, square_change : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    lr : array of float, shape ()
        Learning rate.
    rho : float
        Decay factor of the running means.
    eps : float
        Added to both means.

    Examples
    --------
    >>> w, square, square_change = np.asarray([1.0]), np.asarray([0.0]), np.asarray([4.0])
    >>> adadelta(w, np.asarray([2.0]), square, square_change, np.asarray(0.125), 0.75, 0.0)
    >>> w, square, square_change
    (array([0.5]), array([1.]), array([7.]))
    """
    xp = namespace(data)
    square += (1 - rho) * (grad * grad - square)
    change = grad * xp.sqrt(square_change + eps) / xp.sqrt(square + eps)
    square_change += (1 - rho) * (change * change - square_change)
    data -= lr * change


@kernel
def lbfgs(  # noqa: PLR0917
    data: Array, grad: Array, last_grad: Array, last_move: Array, moves: Array, changes: Array, step: Array, lr: Array
) -> None:
    """
    One step of L-BFGS: ``data += lr d``, where d is minus the gradient times an approximation of the inverse Hessian.

    The approximation is that of the last moves of the data and the changes of the gradient that they led to, by the two
    loops of Nocedal. The first step is no longer than ``lr`` in the sum of absolute values.

    Parameters
    ----------
    data, last_grad, last_move : array of float, shape (N,)
        Changed in place.
    grad : array of float, shape (N,)
    moves, changes : array of float, shape (N, M)
        The last M pairs, the newest one last; zeros where there is none yet. Changed in place.
    step : array of float, shape ()
        Number of steps before this one; incremented in place.
    lr : array of float, shape ()
        Learning rate.

    Examples
    --------
    >>> w, last_grad, last_move, moves, changes = *np.zeros((3, 1)), *np.zeros((2, 1, 4))
    >>> step = np.asarray(0.0)
    >>> for _ in range(2):  # to the minimum of 5 (w - 3)²: the second step knows the curvature
    ...     lbfgs(w, 10 * (w - 3), last_grad, last_move, moves, changes, step, np.asarray(1.0))
    >>> w
    array([3.])
    """
    xp = namespace(data)
    change = grad - last_grad
    is_pair = xp.sum(change * last_move) > MIN_CURVATURE
    for pairs, newest in ((moves, last_move), (changes, change)):
        pairs[...] = xp.where(is_pair, xp.concat([pairs[:, 1:], xp.expand_dims(newest, axis=1)], axis=1), pairs)
    curvatures = xp.sum(moves * changes, axis=0)
    inverses = 1.0 / xp.where(curvatures > 0, curvatures, math.inf)  # 0 where there is no pair yet
    direction, alphas = -grad, []
    for i in reversed(range(moves.shape[1])):
        alphas.append(inverses[i] * xp.sum(moves[:, i] * direction))
        direction = direction - alphas[-1] * changes[:, i]
    square = xp.sum(changes[:, -1] ** 2)
    direction *= xp.where(square > 0, curvatures[-1] / xp.where(square > 0, square, 1.0), 1.0)
    for i, alpha in enumerate(reversed(alphas)):
        direction += (alpha - inverses[i] * xp.sum(changes[:, i] * direction)) * moves[:, i]
    last_move[...] = direction * xp.where(step > 0, lr, lr / xp.maximum(xp.sum(xp.abs(grad)), 1.0))
    data += last_move
    last_grad[...] = grad
    step += 1.0


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
