"""Losses that ask for a margin between right and wrong answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from portanet import kernels
from portanet.checks import Checked, check_count, check_number
from portanet.kernels.elementwise import Derivative
from portanet.losses.base import Loss, Reduction, Unreduced
from portanet.losses.classification import ClassificationLoss
from portanet.losses.elementwise import ElementwiseLoss
from portanet.typing import Array, Shape

__all__ = ["HingeEmbeddingLoss", "MultiMarginLoss", "SoftMarginLoss"]


class _SignLoss(ElementwiseLoss):
    """Base of losses whose targets are -1 and 1."""

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        if not bool(xp.all(xp.abs(xp.astype(target, xp.float64)) == 1)):
            raise ValueError("targets must be -1 or 1: give 2 * target - 1 for targets of 0 and 1")


class SoftMarginLoss(_SignLoss):
    """
    Logistic loss ``log(1 + exp(-t p))`` of scores p for targets t of -1 and 1 [1]_.

    The derivative is ``-t sigmoid(-t p)``. It is :class:`portanet.BCEWithLogitsLoss` for targets of -1 and 1.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, Springer, 2009, eq. 10.18.

    Examples
    --------
    >>> SoftMarginLoss(reduction="none")(np.asarray([[0.0, -1000.0]]), np.asarray([[1, 1]])).round(4)
    array([[6.931e-01, 1.000e+03]])
    """

    threshold = 0.0

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        z = -t * p
        return xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z))), lambda: -t * kernels.sigmoid(z)


class HingeEmbeddingLoss(_SignLoss):
    """
    p for a target of 1, and ``max(0, margin - p)`` for a target of -1 [1]_.

    The prediction p is the distance of a pair: of two similar examples for a target of 1, of two different ones for -1.
    The derivative is 1 for a target of 1; for -1 it is -1 below the margin, and 0 from there on.

    Parameters
    ----------
    margin : float
        Distance that two different examples should have.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] R. Hadsell, S. Chopra, Y. LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006.

    Examples
    --------
    >>> HingeEmbeddingLoss(reduction="none")(np.asarray([[0.25, 0.25, 3.0]]), np.asarray([[1, -1, -1]]))
    array([[0.25, 0.75, 0.  ]])
    """

    margin = Checked(check_number)

    def __init__(self, margin: float = 1.0, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        gap = self.margin - p
        terms = xp.where(t > 0, p, xp.maximum(gap, 0.0))
        return terms, lambda: xp.where(t > 0, 1.0, -xp.astype(gap > 0, p.dtype))


def _check_power(name: str, value: Any) -> int:
    power = check_count(name, value)
    if power > 2:
        raise ValueError(f"{name} must be 1 or 2, got {power}")
    return power


class MultiMarginLoss(ClassificationLoss):
    """
    Multi-class hinge loss ``Σ max(0, margin - z_y + z_j)^p / C`` over the classes j other than the label y [1]_.

    The prediction z holds C scores, shape (N, ..., C), and the target class indices. The derivative with respect to a
    ``z_j`` is ``p max(0, margin - z_y + z_j)^(p - 1) / C`` where the maximum is above 0; that with respect to ``z_y``
    is minus their sum.

    Parameters
    ----------
    p : {1, 2}
        Power.
    margin : float
        By how much the score of the label should exceed the others.
    weight : sequence of float, or dict of int to float, optional
        Weight of each class. The mean divides by the number of examples, as in PyTorch.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] K. Crammer, Y. Singer, On the algorithmic implementation of multiclass kernel-based vector machines,
       JMLR 2, 2001.

    Examples
    --------
    >>> MultiMarginLoss()(np.asarray([[0.5, 2.0, 0.0, 0.0]]), np.asarray([1]))
    np.float64(0.0)
    >>> MultiMarginLoss()(np.asarray([[0.5, 2.0, 0.0, 0.0]]), np.asarray([0]))  # (2.5 + 0.5 + 0.5) / 4
    np.float64(0.875)
    """

    p, margin = Checked(_check_power), Checked(check_number)

    def __init__(
        self,
        *,
        p: int = 1,
        margin: float = 1.0,
        weight: Mapping[int, float] | Sequence[float] | None = None,
        reduction: Reduction = "mean",
    ):
        super().__init__(weight=weight, reduction=reduction)
        self.p, self.margin = p, margin

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[:-1],)

    def normalizer(self, xp: Any, terms: Array, target: Array, sample_weight: Array | None = None) -> float | Array:
        return Loss.normalizer(self, xp, terms, target, sample_weight)

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        t = self.probabilities(xp, prediction, target)
        weight = xp.sum(self.weighted(xp, t), axis=-1, keepdims=True) / prediction.shape[-1]
        own = xp.sum(xp.where(t > 0, prediction, 0.0), axis=-1, keepdims=True)
        excess = xp.where(t > 0, 0.0, xp.maximum(self.margin + (prediction - own), 0.0))
        weighted = weight * excess
        terms = xp.sum(weighted * excess if self.p == 2 else weighted, axis=-1)

        def dterms(factor: float | Array) -> Array:
            slope = 2.0 * weighted if self.p == 2 else weight * xp.astype(excess > 0, prediction.dtype)
            return xp.where(t > 0, -xp.sum(slope, axis=-1, keepdims=True), slope) * factor

        return terms, dterms
