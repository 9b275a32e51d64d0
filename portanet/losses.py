"""
Losses: how far a prediction is from its target, and the pullback that says which way is better.

``loss(prediction, target)`` gives the value, ``loss.vjp(prediction, target)`` the value and its pullback. A loss class
is its formula for single terms and their derivative; :class:`Loss` reduces the terms. Values are in nats where there is
a logarithm, else in squares or units of the prediction.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from portanet import kernels
from portanet.backends import describe, namespace
from portanet.config import Configured
from portanet.kernels.elementwise import Derivative
from portanet.typing import Array, LossPullback, Shape

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Terms: TypeAlias = tuple[Array, Callable[[float | Array], Array]]

TINY = 1e-12
"""Probabilities are taken to be at least this, so that no logarithm and no quotient leaves the range of float32."""


class Loss(Configured):
    """
    Base of losses.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Mean or sum of the terms, or the terms themselves: one a number for elementwise losses, one an example for
        classification losses.

    Examples
    --------
    A loss of one's own:

    >>> class Exponential(portanet.losses.ElementwiseLoss):
    ...     def pointwise(self, xp, p, t):
    ...         e = xp.exp(-p * t)
    ...         return e, lambda: -t * e
    >>> portanet.testing.check_gradients(Exponential(), np.asarray([[0.3, -1.0]]), np.asarray([[1.0, -1.0]]))
    """

    def __init__(self, *, reduction: Reduction = "mean"):
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Terms:
        """
        Return the terms, and a function that gives ``factor`` d term / d prediction.

        The factor is a number, or an array that broadcasts to the prediction: of shape (), or of one number a term,
        for terms of examples with a last axis of 1.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method unreduced(self, xp, prediction, target): see portanet.Loss"
        )

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Shapes that a target may have for a prediction of a shape."""
        return (shape,)

    def normalizer(self, xp: Any, terms: Array, target: Array) -> float | Array:
        """What the sum of the terms is divided by for reduction "mean"."""
        return max(1, math.prod(terms.shape))

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        """
        Look at the values of a target once, before training: it reads them back, so it has no place in a step.

        Raises
        ------
        ValueError
            If they do not fit predictions of ``shape``.
        """
        self._check_shapes(shape, target.shape)

    def vjp(self, prediction: Array, target: Array) -> tuple[Array, LossPullback]:
        """
        Value of the loss, and its pullback.

        Parameters
        ----------
        prediction : array of float, shape (N, ...)
            Output of a network.
        target : array
            On the same device; the class says which shapes and values.

        Returns
        -------
        value : array
            Of shape (), or the terms for reduction "none". It stays on the device: ``float(value)`` belongs outside the
            training step.
        pullback : callable
            ``pullback(dloss=1.0)`` gives the gradient with respect to the prediction; for reduction "none", ``dloss``
            may be an array of the terms' shape.

        Raises
        ------
        ValueError
            If the shapes or devices do not fit.
        """
        xp = namespace(prediction)
        self._check_shapes(prediction.shape, target.shape)
        if type(target) is not type(prediction) or target.device != prediction.device:
            here, there = describe(target), describe(prediction)
            raise ValueError(f"target is on {here} but the prediction is on {there}: use net.asarray(target)")
        terms, pull = self.unreduced(xp, prediction, target)
        divisor = self.normalizer(xp, terms, target) if self.reduction == "mean" else 1.0

        def pullback(dloss: float | Array = 1.0) -> Array:
            scale = dloss / divisor
            if 0 < getattr(scale, "ndim", 0) < prediction.ndim:  # one number an example
                scale = xp.expand_dims(scale, axis=-1)
            return pull(scale)

        return terms if self.reduction == "none" else xp.sum(terms) / divisor, pullback

    def __call__(self, prediction: Array, target: Array) -> Array:
        """Return the value alone."""
        return self.vjp(prediction, target)[0]

    def _check_shapes(self, prediction: Shape, target: Shape) -> None:
        if target not in (fitting := self.target_shapes(prediction)):
            wanted = " or ".join(map(str, fitting))
            raise ValueError(f"target must have shape {wanted} to match the prediction {prediction}, got {target}")


class ElementwiseLoss(Loss):
    """Base of losses with one term a number; the target has the prediction's shape."""

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Terms:
        if target.dtype != prediction.dtype:
            if not xp.isdtype(prediction.dtype, "real floating"):
                raise ValueError(f"the prediction has dtype {prediction.dtype}: give floats, to which targets are cast")
            target = xp.astype(target, prediction.dtype)
        return kernels.elementwise(prediction, self.pointwise, target)

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        """
        Return the terms for a prediction p and a target t of one dtype, and a function that gives their derivative.

        Like :meth:`portanet.Activation.elementwise`, on a GPU it may be called on symbols that stand for each number.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method pointwise(self, xp, p, t): see portanet.Loss")


class MSELoss(ElementwiseLoss):
    """
    Squared error ``(p - t)²``.

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
    Absolute error ``|p - t|``, with slope 0 at 0.

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
    Half the squared error up to ``delta``, linear beyond it [1]_.

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

    def __init__(self, delta: float = 1.0, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)
        if not delta > 0:
            raise ValueError(f"delta must be positive, got {delta}")
        self.delta = delta

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        r = p - t
        near = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        return near * (r - 0.5 * near), lambda: near


class _BinaryLoss(ElementwiseLoss):
    """Base of losses whose targets are probabilities, number by number."""

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        _check_range(xp, target, 1, "targets must be in [0, 1]: scale them, or use MSELoss")


class BCELoss(_BinaryLoss):
    """
    Binary cross-entropy ``-t log p - (1 - t) log(1 - p)`` of probabilities p, from :class:`portanet.Sigmoid` say.

    Targets are in [0, 1]. Neither p nor 1 - p is taken to be less than 1e-12: the loss of a number is 27.6 at most.
    :class:`BCEWithLogitsLoss` on the scores is more exact.

    Examples
    --------
    >>> BCELoss()(np.asarray([[0.5, 0.5]]), np.asarray([[0.0, 1.0]])).round(4)  # log 2
    np.float64(0.6931)
    """

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        terms = -(t * xp.log(xp.maximum(p, TINY)) + (1.0 - t) * xp.log(xp.maximum(1.0 - p, TINY)))
        return terms, lambda: (p - t) / xp.maximum(p * (1.0 - p), TINY)


class BCEWithLogitsLoss(_BinaryLoss):
    """
    Binary cross-entropy of scores: ``BCELoss(sigmoid(z), t)``, exact where the sigmoid saturates.

    Examples
    --------
    >>> BCEWithLogitsLoss()(np.asarray([[-1000.0, 1000.0]]), np.asarray([[0.0, 0.0]]))
    np.float64(500.0)
    """

    def pointwise(self, xp: Any, p: Array, t: Array) -> tuple[Array, Derivative]:
        terms = xp.maximum(p, 0.0) - p * t + xp.log1p(xp.exp(-xp.abs(p)))
        return terms, lambda: kernels.sigmoid(p) - t


class ClassificationLoss(Loss):
    """
    Base of losses with one term an example: the last axis of the prediction counts the classes.

    Targets are class indices (integers, without that axis) or probabilities (floats of the prediction's shape, one-hot
    for instance). Indices are not checked in a step, where a check would stall a GPU; ``fit`` looks at them once.
    """

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return shape[:-1], shape

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        super().check_target(xp, target, shape)
        if target.ndim == len(shape):
            _check_range(xp, target, 1, "class probabilities must be in [0, 1]")
        elif not xp.isdtype(target.dtype, "integral"):
            raise ValueError(
                f"class indices must be integers, got dtype {target.dtype}: convert them with astype('int64')"
            )
        else:
            _check_range(xp, target, shape[-1] - 1, f"class indices must be in [0, {shape[-1]})")

    def probabilities(self, xp: Any, prediction: Array, target: Array) -> Array:
        """Return the target as probabilities of classes."""
        if target.ndim == prediction.ndim:
            return xp.astype(target, prediction.dtype, copy=False)
        return kernels.one_hot(target, prediction.shape[-1], prediction.dtype)


class CrossEntropy(ClassificationLoss):
    """
    Cross-entropy ``-Σ t log p`` of probabilities p, from :class:`portanet.Softmax` say.

    No p is taken to be less than 1e-12. :class:`CrossEntropyLoss` on the scores is more exact.

    Examples
    --------
    >>> CrossEntropy()(np.asarray([[0.25, 0.75]]), np.asarray([0])).round(4)  # log 4
    np.float64(1.3863)
    """

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Terms:
        t = self.probabilities(xp, prediction, target)
        p = xp.maximum(prediction, TINY)
        return -xp.sum(t * xp.log(p), axis=-1), lambda factor: -t / p * factor


class CrossEntropyLoss(ClassificationLoss):
    """
    Cross-entropy ``-Σ t log softmax(z)`` of scores z [1]_.

    Parameters
    ----------
    label_smoothing : float
        Share of the target that is spread evenly over the classes, in [0, 1) [2]_.
    weight : sequence of float, optional
        Weight of each class's part. For class indices, the mean then divides by the sum of the examples' weights.
    reduction : {"mean", "sum", "none"}
        See :class:`Loss`.

    References
    ----------
    .. [1] C. M. Bishop, Pattern Recognition and Machine Learning, Springer, 2006, eq. 4.108.
    .. [2] C. Szegedy et al., Rethinking the inception architecture for computer vision, CVPR 2016.

    Examples
    --------
    >>> CrossEntropyLoss()(np.zeros((2, 4)), np.asarray([0, 3])).round(4)  # log 4: a guess among four classes
    np.float64(1.3863)
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: Sequence[float] | None = None,
        reduction: Reduction = "mean",
    ):
        super().__init__(reduction=reduction)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.weight = None if weight is None else tuple(float(w) for w in weight)
        if self.weight and not all(0 <= w < math.inf for w in self.weight):
            raise ValueError(f"weight must not be negative, got {self.weight}")
        self._placed: Array = None  # the weights on the device of the last call

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Terms:
        if target.ndim < prediction.ndim and not self.label_smoothing and self.weight is None:
            terms, gradient = kernels.sparse_softmax_cross_entropy(prediction, target)
            return terms, lambda factor: gradient * factor
        log_p = kernels.log_softmax(prediction)
        t = self.probabilities(xp, prediction, target)
        if self.label_smoothing:
            t = (1.0 - self.label_smoothing) * t + self.label_smoothing / prediction.shape[-1]
        if self.weight is not None:
            if len(self.weight) != prediction.shape[-1]:
                raise ValueError(
                    f"weight has {len(self.weight)} weights for a prediction of {prediction.shape[-1]} classes"
                )
            t = t * self._weights(xp, prediction)
        # A score of -inf, a class that is masked, has no part where its target is 0.
        return -xp.sum(
            t * xp.where(t > 0, log_p, 0.0), axis=-1
        ), lambda factor: (xp.exp(log_p) * xp.sum(t, axis=-1, keepdims=True) - t) * factor

    def normalizer(self, xp: Any, terms: Array, target: Array) -> float | Array:
        if self.weight is None or target.ndim > terms.ndim:
            return super().normalizer(xp, terms, target)
        return xp.sum(kernels.one_hot(target, len(self.weight), terms.dtype) * self._weights(xp, terms))

    def _weights(self, xp: Any, like: Array) -> Array:
        w = self._placed
        if type(w) is not type(like) or w.device != like.device or w.dtype != like.dtype:
            fill = ({"fill_value": w, "dtype": like.dtype, "device": like.device} for w in self.weight or ())
            w = self._placed = xp.concat([xp.full((1,), **kwargs) for kwargs in fill])  # no upload in a step
        return w


LogSoftmaxCrossEntropy = CrossEntropyLoss
"""The name that the course reports use."""


def _check_range(xp: Any, target: Array, high: float, rule: str) -> None:
    if xp.isdtype(target.dtype, "bool"):
        return
    low_found, high_found = float(xp.min(target)), float(xp.max(target))
    if low_found < 0 or high_found > high:
        raise ValueError(f"{rule}; the target reaches from {low_found:g} to {high_found:g}")
