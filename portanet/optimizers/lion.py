"""Lion."""

from typing import Any, Unpack

from portanet import kernels
from portanet.checks import Checked
from portanet.optimizers.adam import check_betas
from portanet.optimizers.base import Optimizer, OptimizerOptions
from portanet.typing import Array

__all__ = ["Lion"]


class Lion(Optimizer):
    """
    Steps of one length: ``w ← w - lr sign(β₁ m + (1 - β₁) g)``, then ``m ← β₂ m + (1 - β₂) g`` [1]_.

    Its learning rate is 3 to 10 times smaller than that of :class:`AdamW`, its weight decay larger by the same factor.

    Parameters
    ----------
    lr : float
        Learning rate: the change of every weight.
    betas : tuple of two floats
        Share of the running mean in the step, and its decay rate.
    weight_decay : float
        Fraction of the weights that is subtracted at each step, times the learning rate, as in :class:`AdamW`.
    clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] X. Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023, algorithm 2.

    Examples
    --------
    >>> Lion(weight_decay=0.1)
    Lion(weight_decay=0.1)
    """

    decoupled_weight_decay = True
    betas = Checked(check_betas)

    def __init__(
        self, lr: float = 1e-4, *, betas: tuple[float, float] = (0.9, 0.99), **options: Unpack[OptimizerOptions]
    ):
        super().__init__(lr, **options)
        self.betas = betas

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {"mean": xp.zeros_like(like)}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        kernels.lion(data, grad, state["mean"], lr, self.betas)
