"""Stochastic gradient descent."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Checked, check_flag, check_number
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["SGD"]


class SGD(Optimizer):
    """
    Stochastic gradient descent: ``v ← momentum v + g``, ``w ← w - lr v``.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        Fraction of the velocity that is kept.
    nesterov : bool
        Look ahead along the momentum: ``w ← w - lr (g + momentum v)`` [1]_.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] I. Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> SGD(lr=0.1, momentum=0.9, nesterov=True)
    SGD(lr=0.1, momentum=0.9, nesterov=True)
    """

    momentum = Checked(check_number, at_least=0, below=1)
    nesterov = Checked(check_flag)

    def __init__(
        self,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        self.momentum, self.nesterov = momentum, nesterov
        self._check_together()

    def _check_together(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum, got momentum=0: give momentum=0.9 for instance")

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"velocity": xp.zeros_like(like)} if self.momentum else {}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.sgd(data, grad, state.get("velocity"), lr, self.momentum, self.nesterov)
