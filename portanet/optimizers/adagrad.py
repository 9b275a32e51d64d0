"""Adagrad."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Checked, check_number
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """
    ``s ← s + g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Added to the root.
    weight_decay, clip_norm, groups
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
