"""Adam and AdamW."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Self, Unpack

import numpy as np

from portanet import kernels
from portanet.checks import Checked, check_number, shown
from portanet.layers.base import Layer
from portanet.optimizers.base import Optimizer, OptimizerOptions, ParameterGroup
from portanet.typing import Array

__all__ = ["Adam", "AdamW"]


def _check_betas(name: str, value: Any) -> tuple[float, float]:
    try:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        first, second = (check_number(name, beta, at_least=0, below=1) for beta in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers in [0, 1), got {shown(value)}") from None
    return first, second


class Adam(Optimizer):
    """
    ``m ← β₁ m + (1 - β₁) g``, ``v ← β₂ v + (1 - β₂) g²``, ``w ← w - lr m̂ / (√v̂ + eps)`` [1]_.

    ``m̂ = m / (1 - β₁ᵗ)`` and ``v̂ = v / (1 - β₂ᵗ)`` correct for the start at zero. The state holds the sums
    ``m / (1 - β₁)`` and ``v / (1 - β₂)``, which take two passes over memory fewer.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : tuple of two floats
        Decay rates of the running means of the gradient and of its square.
    eps : float
        Added to the root of the mean square.
    weight_decay, clip_norm, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Examples
    --------
    >>> Adam(lr=3e-4)
    Adam(lr=0.0003)
    """

    betas = Checked(_check_betas)
    eps = Checked(check_number, at_least=0)

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, **options)
        self.betas, self.eps = betas, eps

    def bind(self, net: Layer) -> Self:
        _rounded(self.betas, net.flat.dtype)  # refuses betas that the dtype rounds to 1
        return super().bind(net)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        return {
            "grad_sum": xp.zeros_like(like),
            "square_sum": xp.zeros_like(like),
            "step": xp.zeros((), dtype=like.dtype, device=like.device),
        }

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        betas = _rounded(self.betas, self.flat.dtype if self.flat else "float64")
        kernels.adam(data, grad, state["grad_sum"], state["square_sum"], state["step"], lr, betas, self.eps)


class AdamW(Adam):
    """
    Adam with decoupled weight decay: ``w ← w - lr weight_decay w`` before the step, the gradient is left alone [1]_.

    Parameters
    ----------
    lr, betas, eps, clip_norm
        See :class:`Adam`.
    weight_decay : float
        Fraction of the weights that is subtracted at each step, times the learning rate.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> AdamW(weight_decay=0.05)
    AdamW(weight_decay=0.05)
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ):
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, groups=groups)

    def decay(self, data: Array, grad: Array, lr: Array, weight_decay: float) -> Array:
        kernels.add_scaled(data, data, -lr * weight_decay, data)
        return grad


@cache
def _rounded(betas: tuple[float, float], dtype: str) -> tuple[float, float]:
    """Round betas as a dtype does: the correction 1 - 0.9999 is off by 1e-4 where 0.9999 is a float32."""
    b1, b2 = (float(np.asarray(b, dtype=dtype)) for b in betas)
    if max(b1, b2) == 1:
        raise ValueError(f"betas {betas} round to 1 in {dtype}: take smaller ones, or net.to(dtype='float64')")
    return b1, b2
