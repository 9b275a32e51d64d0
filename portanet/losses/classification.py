"""Losses with one term for each example, whose prediction has one number for each class on its last axis."""

from collections.abc import Mapping, Sequence
from typing import Any

from portanet import kernels
from portanet.checks import Checked, check_count, check_number, isdtype, optional, shown
from portanet.losses.base import Loss, Reduction, Unreduced, check_range
from portanet.typing import Array, Shape

__all__ = ["ClassificationLoss", "CrossEntropyLoss", "NLLLoss"]


MAX_CLASSES = 2**20
"""Most classes that a dict of weights may name: each of them gets a number."""


def check_class_weight(
    name: str, weight: Mapping[int, float] | Sequence[float] | None, n_classes: int | None = None
) -> tuple[float, ...] | None:
    """
    Return the weight of each class as a tuple, from a sequence or from a dict of class indices.

    Classes that a dict does not name weigh 1.

    Examples
    --------
    >>> check_class_weight("weight", {0: 1.0, 2: 9.0})
    (1.0, 1.0, 9.0)
    """
    if weight is None:
        return None
    if isinstance(weight, Mapping):
        try:
            largest = max(int(key) for key in weight)
            if any(int(key) != key or key < 0 for key in weight):
                raise ValueError
        except (TypeError, ValueError):
            raise ValueError(f"{name} must have class indices for keys, got {shown(weight)}") from None
        if largest >= MAX_CLASSES:
            raise ValueError(f"{name} names class {largest}: there are at most {MAX_CLASSES} classes")
        if n_classes is not None and largest >= n_classes:
            raise ValueError(f"{name} names class {largest}, but the classes are 0 to {n_classes - 1}: leave it out")
        weight = [weight.get(i, 1.0) for i in range(n_classes or largest + 1)]
    try:
        if isinstance(weight, (str, bytes, set, frozenset)) or hasattr(weight, "mask"):
            raise TypeError
        values = tuple(float(check_number(name, w, at_least=0)) for w in weight)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a list or dict with a number of at least 0 for each class, got {shown(weight)}"
        ) from None
    if n_classes is not None and len(values) != n_classes:
        raise ValueError(f"{name} has {len(values)} weights for {n_classes} classes")
    return values


class ClassificationLoss(Loss):
    """
    Base of losses with one term an example; the last axis of the prediction counts the classes.

    Targets are class indices (integers, without that axis) or probabilities (floats of the prediction's shape, one-hot
    for instance). Indices are not checked in a step, where a check would stall a GPU: ``fit`` checks them once, and a
    call of the loss checks those on the host.

    Parameters
    ----------
    weight : sequence of float, or dict of int to float, optional
        Weight of each class. For class indices, the mean divides by the sum of the examples' weights.
    ignore_index : int, optional
        Class index that has no loss and no gradient, and does not count in the mean, such as -100 for padding. It may
        lie outside of ``[0, C)``. By default there is none, unlike in PyTorch.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    Examples
    --------
    >>> portanet.CrossEntropyLoss(weight={1: 3.0}).weight
    (1.0, 3.0)
    """

    weight = Checked(check_class_weight)
    ignore_index = Checked(optional(check_count), at_least=-(2**31))

    def __init__(
        self,
        *,
        weight: Mapping[int, float] | Sequence[float] | None = None,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ):
        super().__init__(reduction=reduction)
        self.weight, self.ignore_index = weight, ignore_index

    @property
    def weighs_terms(self) -> bool:
        return self.weight is not None or self.ignore_index is not None

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return shape[:-1], shape

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        if target.ndim == len(shape):
            check_range(xp, target, 1, "class probabilities must be in [0, 1]")
        else:
            _check_indices(xp, target)
            check_range(xp, self.labels(xp, target, 0), shape[-1] - 1, f"class indices must be in [0, {shape[-1]})")

    def _check_dtypes(self, xp: Any, prediction: Array, target: Array) -> None:
        super()._check_dtypes(xp, prediction, target)
        if target.ndim < prediction.ndim:
            _check_indices(xp, target)

    def labels(self, xp: Any, target: Array, ignored: int = -1) -> Array:
        """Return class indices, with ``ignored`` in place of those to ignore; -1 is no class."""
        if self.ignore_index is None:
            return target
        target = xp.astype(target, xp.int64, copy=False)  # -1 is no uint8
        return xp.where(target == self.ignore_index, ignored, target)

    def probabilities(self, xp: Any, prediction: Array, target: Array) -> Array:
        """Return the target as probabilities of classes; those of a label to ignore are 0."""
        if target.ndim == prediction.ndim:
            return xp.astype(target, prediction.dtype, copy=False)
        return kernels.one_hot(self.labels(xp, target), prediction.shape[-1], prediction.dtype)

    def weighted(self, xp: Any, t: Array) -> Array:
        """Multiply probabilities of classes, shape (..., C), with the weights of the classes."""
        return t if self.weight is None else t * self.device_numbers(xp, "weight", t, t.shape[-1])

    def normalizer(self, xp: Any, terms: Array, target: Array, sample_weight: Array | None = None) -> float | Array:
        if not self.weighs_terms or target.ndim > terms.ndim:
            return super().normalizer(xp, terms, target, sample_weight)
        labels = self.labels(xp, target)
        if self.weight is None:
            weights = xp.expand_dims(xp.astype(labels != -1, terms.dtype), axis=-1)
        else:
            n_classes = len(self.weight)
            one_hot = kernels.one_hot(labels, n_classes, terms.dtype)
            weights = one_hot * self.device_numbers(xp, "weight", terms, n_classes)
        if sample_weight is not None:
            weights = weights * xp.reshape(sample_weight, (-1, *(1 for _ in weights.shape[1:])))
        return xp.sum(weights)


def _check_indices(xp: Any, target: Array) -> None:
    if not isdtype(xp, target.dtype, "integral"):
        raise ValueError(f"class indices must be integers, got dtype {target.dtype}: convert them with astype('int64')")


class CrossEntropyLoss(ClassificationLoss):
    """
    Cross-entropy ``-Σ t log softmax(z)`` of logits z, shape (N, ..., C) [1]_: no softmax before it.

    The gradient of a term is ``softmax(z) Σ t - t``.

    Parameters
    ----------
    label_smoothing : float
        Share of the target that is spread evenly over the classes, in [0, 1) [2]_.
    weight, ignore_index, reduction
        See :class:`ClassificationLoss`.

    References
    ----------
    .. [1] C. M. Bishop, Pattern Recognition and Machine Learning, Springer, 2006, eq. 4.108.
    .. [2] C. Szegedy et al., Rethinking the inception architecture for computer vision, CVPR 2016.

    Examples
    --------
    >>> CrossEntropyLoss()(np.zeros((2, 4)), np.asarray([0, 3])).round(4)  # log 4: a guess among four classes
    np.float64(1.3863)

    Padding does not count:

    >>> CrossEntropyLoss(ignore_index=-100)(np.zeros((2, 4)), np.asarray([0, -100])).round(4)
    np.float64(1.3863)
    """

    label_smoothing = Checked(check_number, at_least=0, below=1)

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: Mapping[int, float] | Sequence[float] | None = None,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.label_smoothing = label_smoothing

    def fused_mean(self, prediction: Array, target: Array) -> Unreduced | None:
        plain = not (self.label_smoothing or self.weighs_terms) and target.ndim < prediction.ndim
        kind = type(self)  # a subclass may compute other terms, or another mean
        same = kind.unreduced is CrossEntropyLoss.unreduced and kind.normalizer is CrossEntropyLoss.normalizer
        return kernels.mean_cross_entropy(prediction, target) if plain and same else None

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        if target.ndim < prediction.ndim and not self.label_smoothing and self.weight is None:
            terms, gradient = kernels.sparse_softmax_cross_entropy(prediction, self.labels(xp, target))
            return terms, lambda factor: gradient * factor
        log_p = kernels.log_softmax(prediction)
        t = self.probabilities(xp, prediction, target)
        if self.label_smoothing:
            spread: float | Array = self.label_smoothing / prediction.shape[-1]
            if self.ignore_index is not None and target.ndim < prediction.ndim:
                spread = spread * xp.sum(t, axis=-1, keepdims=True)  # 0 for a label to ignore
            t = (1.0 - self.label_smoothing) * t + spread
        t = self.weighted(xp, t)
        terms = -xp.sum(t * xp.where(t > 0, log_p, 0.0), axis=-1)  # a logit of -inf with target 0 adds nothing
        return terms, lambda factor: (xp.exp(log_p) * xp.sum(t, axis=-1, keepdims=True) - t) * factor


class NLLLoss(ClassificationLoss):
    """
    Negative log-likelihood ``-Σ t log p`` of log-probabilities log p, such as outputs of :class:`portanet.LogSoftmax`.

    The gradient of a term is ``-t``.

    Parameters
    ----------
    weight, ignore_index, reduction
        See :class:`ClassificationLoss`.

    Examples
    --------
    >>> NLLLoss()(np.log(np.asarray([[0.25, 0.75]])), np.asarray([0])).round(4)  # log 4
    np.float64(1.3863)
    """

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        t = self.weighted(xp, self.probabilities(xp, prediction, target))
        terms = -xp.sum(t * xp.where(t > 0, prediction, 0.0), axis=-1)
        return terms, lambda factor: -t * factor
