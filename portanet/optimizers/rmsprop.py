"""RMSprop."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Checked, check_flag, check_number
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """
    ``s ← alpha s + (1 - alpha) g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    alpha : float
        Decay of the running mean.
    momentum : float
        Momentum of the divided gradient.
    centered : bool
        Divide by the standard deviation instead: subtract the squared running mean of the gradient [2]_.
    eps : float
        Added to the root.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850.

    Examples
    --------
    >>> RMSprop(alpha=0.9)
    RMSprop(alpha=0.9)
    """

    alpha = Checked(check_number, at_least=0, below=1)
    momentum = Checked(check_number, at_least=0, below=1)
    centered = Checked(check_flag)
    eps = Checked(check_number, at_least=0)

    def __init__(
        self,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        momentum: float = 0.0,
        centered: bool = False,
        eps: float = 1e-8,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        self.alpha, self.momentum, self.centered, self.eps = alpha, momentum, centered, eps

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        names = ["square"] + ["velocity"] * bool(self.momentum) + ["mean"] * self.centered
        return {name: xp.zeros_like(like) for name in names}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        square, mean, velocity = (state.get(name) for name in ("square", "mean", "velocity"))
        kernels.rmsprop(data, grad, square, mean, velocity, lr, self.alpha, self.momentum, self.eps)
