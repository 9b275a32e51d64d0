"""Adam and the optimizers derived from it."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Self, Unpack

import numpy as np

from portanet import kernels
from portanet.checks import Checked, check_flag, check_number, shown
from portanet.layers.base import Layer
from portanet.optimizers.base import Optimizer, OptimizerOptions, ParameterGroup
from portanet.typing import Array

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


def check_betas(name: str, value: Any) -> tuple[float, float]:
    """Check that a value is two numbers in [0, 1)."""
    try:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        first, second = (check_number(name, beta, at_least=0, below=1) for beta in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers in [0, 1), got {shown(value)}") from None
    return first, second


class _Moments(Optimizer):
    """Base of optimizers with decayed sums of the gradient and of its square, and a counter of steps."""

    betas = Checked(check_betas)
    eps = Checked(check_number, at_least=0)

    def __init__(
        self,
        lr: float,
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

    @property
    def rounded_betas(self) -> tuple[float, float]:
        """The betas, rounded as in the dtype of the sums."""
        return _rounded(self.betas, self.flat.dtype if self.flat else "float64")


class Adam(_Moments):
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
    amsgrad : bool
        Divide by the root of the largest v so far, so that a step is not enlarged again [2]_.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
    .. [2] S. J. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond, ICLR 2018.

    Examples
    --------
    >>> Adam(lr=3e-4)
    Adam(lr=0.0003)
    """

    amsgrad = Checked(check_flag)

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, betas=betas, eps=eps, **options)
        self.amsgrad = amsgrad

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        state = super().new_state(xp, like)
        return {**state, "max_square_sum": xp.zeros_like(like)} if self.amsgrad else state

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        betas, grad_sum, square_sum, step = self.rounded_betas, state["grad_sum"], state["square_sum"], state["step"]
        if self.amsgrad:
            kernels.amsgrad(data, grad, grad_sum, square_sum, state["max_square_sum"], step, lr, betas, self.eps)
        else:
            kernels.adam(data, grad, grad_sum, square_sum, step, lr, betas, self.eps)


class AdamW(Adam):
    """
    Adam with decoupled weight decay: ``w ← w - lr weight_decay w`` before the step, the gradient is left alone [1]_.

    Parameters
    ----------
    lr, betas, eps, amsgrad, clip_norm, maximize, groups
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

    decoupled_weight_decay = True

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
        maximize: bool = False,
        groups: Sequence[ParameterGroup] = (),
    ):
        super().__init__(
            lr,
            betas=betas,
            eps=eps,
            amsgrad=amsgrad,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            maximize=maximize,
            groups=groups,
        )


class NAdam(_Moments):
    """
    Adam with Nesterov's momentum: ``w ← w - lr (g (1 - μ(t)) / (1 - M(t)) + m μ(t+1) / (1 - M(t+1))) / (√v̂ + eps)``.

    ``μ(t) = β₁ (1 - 0.96^(t momentum_decay) / 2)`` rises towards β₁, and M(t) is the product of μ(1) to μ(t) [1]_. The
    running means m and v are those of :class:`Adam`.

    Parameters
    ----------
    lr, betas, eps
        See :class:`Adam`.
    momentum_decay : float
        How soon the momentum rises.
    decoupled_weight_decay : bool
        Whether weight decay shrinks the weights, as in :class:`AdamW`, instead of being added to the gradient.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] T. Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.

    Examples
    --------
    >>> NAdam(lr=1e-3)
    NAdam(lr=0.001)
    """

    momentum_decay = Checked(check_number, at_least=0)
    decoupled_weight_decay = Checked(check_flag)

    def __init__(
        self,
        lr: float = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, betas=betas, eps=eps, **options)
        self.momentum_decay, self.decoupled_weight_decay = momentum_decay, decoupled_weight_decay

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        state = super().new_state(xp, like)
        return {**state, "mu_product": xp.ones_like(state["step"])}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        sums, scalars = (state["grad_sum"], state["square_sum"]), (state["step"], state["mu_product"], lr)
        kernels.nadam(data, grad, *sums, *scalars, self.rounded_betas, self.momentum_decay, self.eps)


class RAdam(_Moments):
    """
    Adam, rectified for the variance of ``1 / √v`` in the first steps [1]_: no warm-up of the learning rate is needed.

    With ``R = 2 / (1 - β₂) - 1`` and ``ρ = R - 2 t β₂ᵗ / (1 - β₂ᵗ)``, the step of :class:`Adam` is multiplied by
    ``√((ρ - 4) (ρ - 2) R / ((R - 4) (R - 2) ρ))`` where ρ is above 5; until then it is ``w ← w - lr m̂``.

    Parameters
    ----------
    lr, betas
        See :class:`Adam`.
    eps : float
        Added to ``√v``, before the correction for the start at zero.
    decoupled_weight_decay : bool
        Whether weight decay shrinks the weights, as in :class:`AdamW`, instead of being added to the gradient.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] L. Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020, algorithm 2.

    Examples
    --------
    >>> RAdam(lr=3e-4)
    RAdam(lr=0.0003)
    """

    decoupled_weight_decay = Checked(check_flag)

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: bool = False,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, betas=betas, eps=eps, **options)
        self.decoupled_weight_decay = decoupled_weight_decay

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        sums = state["grad_sum"], state["square_sum"]
        kernels.radam(data, grad, *sums, state["step"], lr, self.rounded_betas, self.eps)


class Adamax(_Moments):
    """
    Adam with a maximum in place of the mean square: ``u ← max(β₂ u, |g| + eps)``, ``w ← w - lr m̂ / u`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : tuple of two floats
        Decay rates of the running mean of the gradient, and of the maximum.
    eps : float
        Added to the absolute gradient.
    weight_decay, clip_norm, maximize, groups
        See :class:`Optimizer`.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 2.

    Examples
    --------
    >>> Adamax(lr=0.01)
    Adamax(lr=0.01)
    """

    def __init__(
        self,
        lr: float = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(lr, betas=betas, eps=eps, **options)

    def new_state(self, xp: Any, like: Array) -> dict[str, Array]:
        state = super().new_state(xp, like)
        return {"grad_sum": state["grad_sum"], "infinity_norm": state["square_sum"], "step": state["step"]}

    def update(self, xp: Any, data: Array, grad: Array, state: dict[str, Array], lr: Array) -> None:
        arrays = state["grad_sum"], state["infinity_norm"]
        kernels.adamax(data, grad, *arrays, state["step"], lr, self.rounded_betas, self.eps)


@cache
def _rounded(betas: tuple[float, float], dtype: str) -> tuple[float, float]:
    """Round betas as a dtype does: the correction 1 - 0.9999 is off by 1e-4 where 0.9999 is a float32."""
    b1, b2 = (float(np.asarray(b, dtype=dtype)) for b in betas)
    if max(b1, b2) == 1:
        raise ValueError(f"betas {betas} round to 1 in {dtype}: take smaller ones, or net.to(dtype='float64')")
    return b1, b2
