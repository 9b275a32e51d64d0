"""RMSprop."""

from typing import Any, Unpack

from portanet import kernels
from portanet.optimizers.base import Optimizer, OptimizerOptions, check_eps
from portanet.typing import Array

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """
    ``s ← rho s + (1 - rho) g²``, ``w ← w - lr g / (√s + eps)`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    rho : float
        Decay of the running mean; the defaults are those of Keras.
    momentum : float
        Momentum of the divided gradient.
    centered : bool
        Divide by the standard deviation instead: subtract the squared running mean of the gradient [2]_.
    eps : float
        Added to the root, as in PyTorch.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850.

    Examples
    --------
    >>> RMSprop(rho=0.99)
    RMSprop(rho=0.99)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        rho: float = 0.9,
        momentum: float = 0.0,
        centered: bool = False,
        eps: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        if not (0 <= rho < 1 and 0 <= momentum < 1):
            raise ValueError(f"rho and momentum must be in [0, 1), got {rho} and {momentum}")
        self.rho, self.momentum, self.centered, self.eps = rho, momentum, centered, check_eps(eps)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        names = ["square"] + ["velocity"] * bool(self.momentum) + ["mean"] * self.centered
        return {name: xp.zeros_like(like) for name in names}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        square, mean, velocity = (state.get(name) for name in ("square", "mean", "velocity"))
        kernels.rmsprop(data, grad, square, mean, velocity, lr, self.rho, self.momentum, self.eps)
