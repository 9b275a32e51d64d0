"""Losses with one term for each number."""

from typing import Any

from portanet import kernels
from portanet.checks import Checked, check_number
from portanet.kernels.elementwise import Derivative
from portanet.kernels.special import min_slope
from portanet.losses.base import Loss, Reduction, Unreduced, check_range, in_dtype
from portanet.typing import Array, Shape

__all__ = ["BCELoss", "BCEWithLogitsLoss", "ElementwiseLoss", "HuberLoss", "L1Loss", "MSELoss"]

EPS = 1e-12
"""Smallest probability in a logarithm."""


class ElementwiseLoss(Loss):
    """
    Base of losses with one term a number; the target has the prediction's shape, or lacks a last axis of 1.

    Examples
    --------
    >>> portanet.MSELoss()(np.asarray([[1.0], [3.0]]), np.asarray([1.0, 1.0]))
    np.float64(2.0)
    """

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape, shape[:-1]) if len(shape) > 1 and shape[-1] == 1 else (shape,)

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        if target.dtype != prediction.dtype:
            target = in_dtype(xp, target, prediction.dtype, "target")
        if target.ndim < prediction.ndim:
            target = xp.expand_dims(target, axis=-1)
        return kernels.elementwise(prediction, self.pointwise, target)

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        """
        Return the terms for a prediction p and a target t of one dtype, and a function that returns ``d term / dp``.

        As for :meth:`portanet.Activation.elementwise`, both must be free of side effects.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method pointwise(self, xp, p, t): see portanet.Loss")


class MSELoss(ElementwiseLoss):
    """
    Squared error ``(p - t)²``; the derivative is ``2 (p - t)``.

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


class BCEWithLogitsLoss(_BinaryLoss):
    """
    Binary cross-entropy of logits z, ``BCELoss(sigmoid(z), t)``, exact where the sigmoid saturates.

    The derivative is ``sigmoid(z) - t``. Targets are in [0, 1].

    Examples
    --------
    >>> BCEWithLogitsLoss()(np.asarray([[-1000.0, 1000.0]]), np.asarray([[0.0, 0.0]]))
    np.float64(500.0)
    """

    threshold = 0.0

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        terms = xp.maximum(p, 0.0) - p * t + xp.log1p(xp.exp(-xp.abs(p)))
        return terms, lambda: kernels.sigmoid(p) - t
