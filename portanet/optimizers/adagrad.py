"""Adagrad and Adadelta."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Checked, check_number
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["Adadelta", "Adagrad"]


class Adagrad(Optimizer):
    """
    ``s ← s + g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Added to the root.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] J. Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12, 2011.

    Examples
    --------
    >>> Adagrad(lr=0.05)
    Adagrad(lr=0.05)
    """

    eps = Checked(check_number, at_least=0)

    def __init__(self, lr: float = 0.01, *, eps: float = 1e-10, **options: Unpack[OptimizerOptions]):
        super().__init__(lr, **options)
        self.eps = eps

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"square": xp.zeros_like(like)}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.adagrad(data, grad, state["square"], lr, self.eps)


class Adadelta(Optimizer):
    """
    ``s ← rho s + (1 - rho) g²``, ``w ← w - lr d`` with ``d = g √(u + eps) / √(s + eps)`` [1]_.

    u is the running mean of d², like s that of g².

    Parameters
    ----------
    lr : float
        Factor of the steps, 1 in the paper.
    rho : float
        Decay of the running means.
    eps : float
        Added to both means; it sets the length of the first steps.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] M. D. Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, algorithm 1.

    Examples
    --------
    >>> Adadelta(rho=0.95)
    Adadelta(rho=0.95)
    """

    rho = Checked(check_number, at_least=0, below=1)
    eps = Checked(check_number, above=0)

    def __init__(self, lr: float = 1.0, *, rho: float = 0.9, eps: float = 1e-6, **options: Unpack[OptimizerOptions]):
        super().__init__(lr, **options)
        self.rho, self.eps = rho, eps

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"square": xp.zeros_like(like), "square_change": xp.zeros_like(like)}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.adadelta(data, grad, state["square"], state["square_change"], lr, self.rho, self.eps)
