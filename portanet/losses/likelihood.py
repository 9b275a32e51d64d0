"""Negative log-likelihoods of numbers, under distributions whose parameters a network predicts."""

import math
from typing import Any

from portanet.checks import Checked, check_flag, check_number
from portanet.kernels.elementwise import Derivative
from portanet.losses.base import Loss, Reduction, Unreduced, check_range, in_dtype
from portanet.losses.elementwise import ElementwiseLoss
from portanet.typing import Array, Shape

__all__ = ["GaussianNLLLoss", "PoissonNLLLoss"]


class PoissonNLLLoss(ElementwiseLoss):
    """
    Negative log-likelihood ``exp(p) - t p`` of counts t under a Poisson distribution with the rate ``exp(p)`` [1]_.

    The derivative is ``exp(p) - t``. The constant ``log t!`` is left out.

    Parameters
    ----------
    log_input : bool
        Whether the prediction is the logarithm of the rate. If False, it is the rate itself, at least 0: the terms are
        ``p - t log(p + eps)``, and the derivative is ``1 - t / (p + eps)``.
    full : bool
        Whether to add Stirling's approximation ``t log t - t + log(2 π t) / 2`` of ``log t!``, for t above 1.
    eps : float
        Added to a rate in the logarithm.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] P. McCullagh, J. A. Nelder, Generalized Linear Models, Chapman and Hall, 1989, chapter 6.

    Examples
    --------
    >>> PoissonNLLLoss(reduction="none")(np.log(np.asarray([[1.0, 2.0]])), np.asarray([[3, 2]])).round(4)
    array([[1.    , 0.6137]])
    """

    log_input, full = Checked(check_flag), Checked(check_flag)
    eps = Checked(check_number, above=0)

    def __init__(self, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        check_range(xp, target, math.inf, "targets must be counts of at least 0")

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        rate = xp.exp(p) if self.log_input else p
        terms = rate - t * (p if self.log_input else xp.log(p + self.eps))
        if self.full:
            n = xp.where(t > 1, t, 1.0)
            terms = terms + xp.where(t > 1, n * xp.log(n) - n + 0.5 * xp.log(2 * math.pi * n), 0.0)
        return terms, lambda: rate - t if self.log_input else 1.0 - t / (p + self.eps)


class GaussianNLLLoss(Loss):
    """
    Negative log-likelihood ``(log v + (m - t)² / v) / 2`` of targets t under normal distributions [1]_.

    The last axis of the prediction holds K means m, then their K variances v, so that a target of shape (N, ..., K)
    has a prediction of shape (N, ..., 2K). There is one term for each number of the target. A variance below ``eps``
    counts as ``eps``. The derivatives are ``(m - t) / v`` and ``(1 / v - ((m - t) / v)²) / 2``; the second one is kept
    below ``eps``, as in PyTorch, so that a variance can grow again.

    Parameters
    ----------
    full : bool
        Whether to add the constant ``log(2 π) / 2``.
    eps : float
        Smallest variance.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] D. A. Nix, A. S. Weigend, Estimating the mean and variance of the target probability distribution,
       ICNN 1994.

    Examples
    --------
    A network that predicts a mean and a variance:

    >>> mean, variance = portanet.Linear(8, 1), portanet.Sequential(portanet.Linear(8, 1), portanet.Softplus())
    >>> net = portanet.Sequential(portanet.Linear(3, 8), portanet.TanH(), portanet.Parallel(mean, variance))
    >>> net.initialize(seed=0)(np.ones((5, 3), dtype="float32")).shape
    (5, 2)
    >>> GaussianNLLLoss()(np.asarray([[1.0, 4.0]]), np.asarray([[3.0]])).round(4)  # (log 4 + 1) / 2
    np.float64(1.1931)
    """

    full = Checked(check_flag)
    eps = Checked(check_number, above=0)

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        if not shape or shape[-1] % 2:
            raise ValueError(f"prediction must hold means, then as many variances on its last axis, got shape {shape}")
        half = (*shape[:-1], shape[-1] // 2)
        return (half, half[:-1]) if half[-1] == 1 else (half,)

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        k = prediction.shape[-1] // 2
        mean, v = prediction[..., :k], xp.maximum(prediction[..., k:], self.eps)
        t = in_dtype(xp, target, prediction.dtype, "target")
        r = mean - (t if t.ndim == prediction.ndim else xp.expand_dims(t, axis=-1))
        slope = r / v
        terms = 0.5 * (xp.log(v) + slope * r + (math.log(2 * math.pi) if self.full else 0.0))

        def dterms(factor: float | Array) -> Array:
            return xp.concat([slope * factor, 0.5 * (1.0 / v - slope * slope) * factor], axis=-1)

        return terms, dterms
