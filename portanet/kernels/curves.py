"""One function for every number of an array, and its slope."""

from collections.abc import Callable
from typing import Any, TypeAlias

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array

Formula: TypeAlias = Callable[[Any, Array], tuple[Array, Callable[[], Array]]]
"""``formula(xp, x)`` gives ``f(x)``, and a function that gives ``f'(x)`` if asked."""


@kernel
def curve(x: Array, formula: Formula) -> tuple[Array, Callable[[Array], Array]]:
    """
    Give ``f(x)``, and a function that takes ``dy`` to ``dy f'(x)``.

    A backend may call the formula on a symbol in place of the array, and compute all that it does to it at once.

    Examples
    --------
    >>> y, pull = curve(np.asarray([1.0, 3.0]), lambda xp, x: (x * x, lambda: 2 * x))
    >>> y, pull(np.asarray([1.0, 10.0]))
    (array([1., 9.]), array([ 2., 60.]))
    """
    y, slope = formula(namespace(x), x)
    return y, lambda dy: dy * slope()
