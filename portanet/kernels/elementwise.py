"""An elementwise function of an array, and its derivative."""

import math
from collections.abc import Callable
from typing import TypeAlias

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

Derivative: TypeAlias = Callable[[], Array]
ElementwiseFn: TypeAlias = Callable[..., tuple[Array, Derivative]]
"""``fn(xp, x)`` or ``fn(xp, x, t)`` returns ``f(x)`` and a function of no arguments that returns ``f'(x)``."""


@kernel
def elementwise(x: Array, fn: ElementwiseFn, t: Array | None = None) -> tuple[Array, Callable[[float | Array], Array]]:
    """
    Return ``y = f(x)``, and the function ``dy -> dx = dy f'(x)``.

    A backend may trace ``fn``: call it on symbols instead of arrays, and compile the expressions into one kernel.

    Parameters
    ----------
    x : array of float
    fn : callable
        See :data:`ElementwiseFn`. It and the derivative that it returns must be pure functions: they may be called
        more than once.
    t : array, optional
        Second argument of f, of the dtype and shape of x. f is not differentiated with respect to it.

    Examples
    --------
    >>> y, pullback = elementwise(np.asarray([1.0, 3.0]), lambda xp, x: (x * x, lambda: 2 * x))
    >>> y, pullback(np.asarray([1.0, 10.0]))
    (array([1., 9.]), array([ 2., 60.]))
    """
    y, derivative = fn(namespace(x), x) if t is None else fn(namespace(x), x, t)
    return y, lambda dy: dy * derivative()


def scaled_by(gradient: Array) -> Callable[[float | Array], Array]:
    """
    Return the function ``factor -> gradient factor``; for 1.0, it gives the array itself, which is not to be changed.

    Examples
    --------
    >>> scaled_by(np.asarray([1.0, 2.0]))(0.5)
    array([0.5, 1. ])
    """
    return lambda factor: gradient if type(factor) is float and factor == 1.0 else gradient * factor


@kernel
def mean_elementwise(x: Array, fn: ElementwiseFn, t: Array) -> tuple[Array, Callable[[float | Array], Array]]:
    """
    Return the mean of ``f(x, t)`` over all elements, and its pullback. The mean of an empty array is 0.

    Parameters
    ----------
    x, fn, t
        As for :func:`elementwise`.

    Returns
    -------
    mean : array, shape ()
    pullback : callable
        Returns the gradient of ``dmean`` times the mean with respect to x. That of 1.0 is an array that is kept: do
        not change it.

    Examples
    --------
    >>> error = lambda xp, x, t: ((x - t) ** 2, lambda: 2 * (x - t))
    >>> mean, pullback = mean_elementwise(np.asarray([1.0, 3.0]), error, np.zeros(2))
    >>> mean, pullback(1.0)
    (np.float64(5.0), array([1., 3.]))
    """
    terms, pullback = elementwise(x, fn, t)
    n = max(1, math.prod(terms.shape))
    return namespace(terms).sum(terms) / n, lambda dmean: pullback(dmean / n)
