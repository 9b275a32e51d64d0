"""One function for every number of an array, and its slope."""

from collections.abc import Callable
from typing import TypeAlias

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

Derivative: TypeAlias = Callable[[], Array]
ElementwiseFn: TypeAlias = Callable[..., tuple[Array, Derivative]]
"""``formula(xp, x)`` or ``formula(xp, x, t)`` gives ``f(x)``, and a function that gives ``f'(x)`` if asked."""


@kernel
def elementwise(
    x: Array, formula: ElementwiseFn, t: Array | None = None
) -> tuple[Array, Callable[[float | Array], Array]]:
    """
    Give ``f(x)``, and a function that takes ``dy`` to ``dy f'(x)``.

    A backend may call the formula on symbols in place of arrays, and compute all that it does to them at once.

    Parameters
    ----------
    x : array of float
    formula : callable
        See :data:`ElementwiseFn`. It has no effects, and may be called more than once; so may the function that it gives.
    t : array, optional
        Of the dtype and shape of x; f depends on it too, but is not differentiated by it.

    Examples
    --------
    >>> y, pull = elementwise(np.asarray([1.0, 3.0]), lambda xp, x: (x * x, lambda: 2 * x))
    >>> y, pull(np.asarray([1.0, 10.0]))
    (array([1., 9.]), array([ 2., 60.]))
    """
    y, slope = formula(namespace(x), x) if t is None else formula(namespace(x), x, t)
    return y, lambda dy: dy * slope()
