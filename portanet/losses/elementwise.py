"""Losses with one term for each number."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, as_number, check_choice, check_flag, check_number
from portanet.kernels.elementwise import Derivative
from portanet.kernels.special import min_slope
from portanet.losses.base import Loss, Reduction, Unreduced, check_range, in_dtype
from portanet.losses.classification import check_class_weight
from portanet.typing import Array, Shape

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "ElementwiseLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "SmoothL1Loss",
]

EPS = 1e-12
"""Smallest probability in a logarithm."""


class ElementwiseLoss(Loss):
    """
    Base of losses with one term a number; the target has the prediction's shape, or lacks a last axis of 1.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> portanet.MSELoss()(np.asarray([[1.0], [3.0]]), np.asarray([1.0, 1.0]))
    np.float64(2.0)
    """

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape, shape[:-1]) if len(shape) > 1 and shape[-1] == 1 else (shape,)

    def fit_target(self, target: Array, shape: Shape) -> Array:
        return target[..., None] if target.ndim < len(shape) else target

    def fused_mean(self, prediction: Array, target: Array) -> Unreduced | None:
        kind = type(self)  # a subclass may compute other terms, or another mean
        if kind.unreduced is not ElementwiseLoss.unreduced or kind.normalizer is not Loss.normalizer:
            return None
        target = _like(prediction, target)
        return kernels.mean_elementwise(prediction, self.pointwise, target)

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        return kernels.elementwise(prediction, self.pointwise, _like(prediction, target))

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        """
        Return the terms for a prediction p and a target t of one dtype, and a function that returns ``d term / dp``.

        As for :meth:`portanet.Activation.elementwise`, both must be free of side effects.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method pointwise(self, xp, p, t): see portanet.Loss")


def _like(prediction: Array, target: Array) -> Array:
    """Return a target in the dtype of the prediction, and with its axes."""
    xp = namespace(prediction)
    if target.dtype != prediction.dtype:
        target = in_dtype(xp, target, prediction.dtype, "target")
    return xp.expand_dims(target, axis=-1) if target.ndim < prediction.ndim else target


class MSELoss(ElementwiseLoss):
    """
    Squared error ``(p - t)²``; the derivative is ``2 (p - t)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> MSELoss()(np.asarray([[1.0, 3.0]]), np.asarray([[1.0, 1.0]]))
    np.float64(2.0)
    """

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        r = p - t
        return r * r, lambda: 2.0 * r


class L1Loss(ElementwiseLoss):
    """
    Absolute error ``|p - t|``; the derivative is the sign of ``p - t``, and 0 at 0.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> L1Loss(reduction="sum")(np.asarray([[1.0, 3.0]]), np.asarray([[2.0, 1.0]]))
    np.float64(3.0)
    """

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        r = p - t
        return xp.abs(r), lambda: xp.sign(r)


class HuberLoss(ElementwiseLoss):
    """
    ``r² / 2`` for an error ``r = p - t`` of at most ``delta``, else ``delta (|r| - delta / 2)`` [1]_.

    The derivative is r, clipped to ``[-delta, delta]``.

    Parameters
    ----------
    delta : float
        Error from which the loss is linear.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] P. J. Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> HuberLoss(reduction="none")(np.asarray([[0.5, 10.0]]), np.asarray([[0.0, 0.0]]))
    array([[0.125, 9.5  ]])
    """

    delta = Checked(check_number, above=0)

    def __init__(self, delta: float = 1.0, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.delta = delta

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        r = p - t
        clipped = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        return clipped * (r - 0.5 * clipped), lambda: clipped


class SmoothL1Loss(ElementwiseLoss):
    """
    ``r² / (2 beta)`` for an error ``r = p - t`` of at most ``beta``, else ``|r| - beta / 2`` [1]_.

    The derivative is ``r / beta``, clipped to [-1, 1]: that of :class:`HuberLoss` with ``delta=beta``, over ``beta``.

    Parameters
    ----------
    beta : float
        Error from which the loss is linear.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] R. Girshick, Fast R-CNN, ICCV 2015, eq. 3.

    Examples
    --------
    >>> SmoothL1Loss(2.0, reduction="none")(np.asarray([[1.0, 10.0]]), np.asarray([[0.0, 0.0]]))
    array([[0.25, 9.  ]])
    """

    beta = Checked(check_number, above=0)

    def __init__(self, beta: float = 1.0, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.beta = beta

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        r = p - t
        clipped = xp.minimum(xp.maximum(r, -self.beta), self.beta)
        slope = clipped / self.beta
        return slope * (r - 0.5 * clipped), lambda: slope


class KLDivLoss(ElementwiseLoss):
    """
    Terms ``t (log t - p)`` of the Kullback-Leibler divergence of log-probabilities p from probabilities t [1]_.

    The derivative is ``-t``. A term with t = 0 is 0. Predictions are log-probabilities, such as outputs of
    :class:`portanet.LogSoftmax`.

    Parameters
    ----------
    log_target : bool
        Whether the target holds logarithms too: the terms are ``exp(t) (t - p)``, and the derivative is ``-exp(t)``.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" is the divergence: the sum of the terms over the number of examples, or over the sum of their
        weights. "mean" divides by the number of terms.

    References
    ----------
    .. [1] S. Kullback, R. A. Leibler, On information and sufficiency, Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> p, t = np.asarray([[0.5, 0.5], [0.5, 0.5]]), np.asarray([[0.5, 0.5], [1.0, 0.0]])
    >>> KLDivLoss(reduction="batchmean")(np.log(p), t).round(4)  # log 2 / 2
    np.float64(0.3466)
    """

    log_target = Checked(check_flag)
    reduction = Checked(check_choice, choices=("mean", "batchmean", "sum", "none"))

    def __init__(self, *, log_target: bool = False, reduction: Reduction | Literal["batchmean"] = "mean"):
        super().__init__()
        self.log_target, self.reduction = log_target, reduction

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        if self.log_target:
            check_range(xp, target, 0, "targets must be log-probabilities, with log_target=True", low=-math.inf)
        else:
            check_range(xp, target, 1, "targets must be in [0, 1]: set log_target=True for logarithms")

    def normalizer(self, xp: Any, terms: Array, target: Array, sample_weight: Array | None = None) -> float | Array:
        n = super().normalizer(xp, terms, target, sample_weight)
        return n if self.reduction == "mean" else n / max(1, math.prod(terms.shape[1:]))

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        if self.log_target:
            q = xp.exp(t)
            return q * xp.where(q > 0, t - p, 0.0), lambda: -q
        return t * xp.where(t > 0, xp.log(xp.where(t > 0, t, 1.0)) - p, 0.0), lambda: -t


class _BinaryLoss(ElementwiseLoss):
    """Base of losses whose targets are probabilities."""

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        check_range(xp, target, 1, "targets must be in [0, 1]: scale them, or use MSELoss")


class BCELoss(_BinaryLoss):
    """
    Binary cross-entropy ``-t log p - (1 - t) log(1 - p)`` of probabilities p, such as outputs of a sigmoid.

    The derivative is ``(p - t) / (p (1 - p))``, with a divisor of at least an eighth of the machine epsilon. After a
    sigmoid, the gradient of its input is right even where p rounds to 0 or 1. Targets are in [0, 1]. In the
    logarithm, neither p nor 1 - p counts as less than 1e-12, nor 1 - p as less than 6e-8 in float32, so a term is at
    most 27.6; :class:`BCEWithLogitsLoss` on the logits has no such bound.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> BCELoss()(np.asarray([[0.5, 0.5]]), np.asarray([[0.0, 1.0]])).round(4)  # log 2
    np.float64(0.6931)
    """

    threshold = 0.5

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        slope = min_slope(p.dtype)
        most = 1.0 - max(EPS, 4 * slope)  # below 1 in the dtype
        terms = -(t * xp.log(xp.maximum(p, EPS)) + (1.0 - t) * xp.log1p(-xp.minimum(p, most)))
        return terms, lambda: (p - t) / xp.maximum(p * (1.0 - p), slope)


PosWeight: TypeAlias = float | Mapping[int, float] | Sequence[float]


def _check_pos_weight(name: str, value: Any) -> float | tuple[float, ...] | None:
    """Return None, a number, or a tuple with a number for each output."""
    if as_number(value) is not None:
        return check_number(name, value, at_least=0)
    return check_class_weight(name, value)


class BCEWithLogitsLoss(_BinaryLoss):
    """
    Binary cross-entropy of logits z, ``BCELoss(sigmoid(z), t)``, exact where the sigmoid saturates.

    The derivative is ``sigmoid(z) - t``. Targets are in [0, 1]. With a weight w of the positive answers, a term is
    ``-w t log sigmoid(z) - (1 - t) log sigmoid(-z)``, and the derivative ``(1 - t) sigmoid(z) - w t sigmoid(-z)``.

    Parameters
    ----------
    pos_weight : float, or sequence of float, optional
        Weight of positive answers: one number, or one for each position on the last axis. The number of negative
        examples over that of positive ones gives both the same influence.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> BCEWithLogitsLoss()(np.asarray([[-1000.0, 1000.0]]), np.asarray([[0.0, 0.0]]))
    np.float64(500.0)
    >>> BCEWithLogitsLoss(pos_weight=3.0, reduction="none")(np.zeros((1, 2)), np.asarray([[0.0, 1.0]])).round(4)
    array([[0.6931, 2.0794]])
    """

    threshold = 0.0
    pos_weight = Checked(_check_pos_weight)

    def __init__(self, *, pos_weight: PosWeight | None = None, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.pos_weight = pos_weight

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        log_term = xp.log1p(xp.exp(-xp.abs(p)))
        if self.pos_weight is None:
            return xp.maximum(p, 0.0) - p * t + log_term, lambda: kernels.sigmoid(p) - t
        w: Any = self.pos_weight
        if isinstance(w, tuple):
            w = self.device_numbers(xp, "pos_weight", p, p.shape[-1])
        positive, negative = w * t, 1.0 - t
        terms = positive * (xp.maximum(-p, 0.0) + log_term) + negative * (xp.maximum(p, 0.0) + log_term)
        return terms, lambda: negative * kernels.sigmoid(p) - positive * kernels.sigmoid(-p)
