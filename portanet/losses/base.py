"""What every loss does with its terms: weight them, reduce them, and carry the gradient back."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from portanet.backends import as_array, cast, describe, host_array, is_host_data, namespace
from portanet.checks import Checked, as_number, check_choice, isdtype, shown
from portanet.config import Configured
from portanet.typing import Array, LossPullback, Shape

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Unreduced: TypeAlias = tuple[Array, Callable[[float | Array], Array]]


class Loss(Configured):
    """
    Base of losses: ``mean``, ``sum`` or ``none`` of the terms ``l(prediction, target)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Mean or sum of the terms, or the terms themselves. An elementwise loss has one term for each number, a
        classification loss one for each example. With weights w, the mean is ``Σ w l / Σ w``, and 0 where all weights
        are 0.

    Examples
    --------
    A loss of one's own:

    >>> class Exponential(portanet.losses.ElementwiseLoss):
    ...     def pointwise(self, xp, p, t):
    ...         e = xp.exp(-p * t)
    ...         return e, lambda: -t * e
    >>> portanet.testing.check_gradients(Exponential(), np.asarray([[0.3, -1.0]]), np.asarray([[1.0, -1.0]]))
    """

    takes_several: ClassVar[bool] = False
    """Whether it compares a tuple or dict of predictions with one of targets."""

    threshold: ClassVar[float | None] = None
    """For binary losses: the prediction above which the class is 1."""

    _device_numbers: tuple[Any, tuple[Array, ...]] = None, ()  # numbers, and the same on each device in each dtype

    reduction = Checked(check_choice, choices=("mean", "sum", "none"))

    def __init__(self, *, reduction: Reduction = "mean"):
        self.reduction = reduction

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> Unreduced:
        """
        Return the terms, and a function that takes ``factor`` to ``factor d term / d prediction``.

        ``factor`` is a number, an array of shape (), or an array with one number for each term. Where the loss has one
        term for each example, that array has a last axis of length 1.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method unreduced(self, xp, prediction, target): see portanet.Loss"
        )

    def fused_mean(self, prediction: Array, target: Array) -> Unreduced | None:
        """Return the mean and its pullback from one kernel, or None if there is no such kernel for the loss."""
        return None

    @property
    def weighs_terms(self) -> bool:
        """Whether the loss gives its terms weights, so that batches of equal size may differ in the sum of weights."""
        return False

    def target_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes that a target may have for a prediction of a shape."""
        return (shape,)

    def normalizer(self, xp: Any, terms: Array, target: Array, sample_weight: Array | None = None) -> float | Array:
        """Return what the sum of the terms is divided by for a mean: their number, or sum of weights."""
        n = max(1, math.prod(terms.shape))
        return n if sample_weight is None else xp.sum(sample_weight) * (n / max(1, terms.shape[0]))

    def weight_of_batch(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> float | Array:
        """Return how much a batch weighs in a mean over batches, up to a factor that is the same for all batches."""
        terms = prediction[..., 0] if prediction.ndim > 1 else prediction  # one for each example
        return self.normalizer(namespace(prediction), terms, target, sample_weight)

    def check_target(self, xp: Any, target: Array, shape: Shape) -> None:
        """Refuse targets that do not fit predictions of a shape; it reads values back, so no step calls it."""
        self._check_shapes(shape, target.shape)

    def fit_target(self, target: Array, shape: Shape) -> Array:
        """Return a target that :meth:`check_target` has accepted, in the shape that metrics take, too."""
        return target

    def vjp(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, LossPullback]:
        """
        Return the value of the loss, and its pullback.

        Parameters
        ----------
        prediction : array of float, shape (N, ...)
            Output of a network.
        target : array
            On the same device; the class documents shapes and values.
        sample_weight : array of float, shape (N,), optional
            Weight of each example.

        Returns
        -------
        value : array
            Of shape (), or the terms for reduction "none". It stays on the device: ``float(value)`` belongs outside
            the training step.
        pullback : callable
            ``pullback(dloss=1.0)`` gives the gradient with respect to the prediction; for reduction "none", ``dloss``
            may be an array of the terms' shape.

        Raises
        ------
        ValueError
            If the shapes or devices do not fit.
        """
        prediction = as_array(prediction, name="prediction")
        xp, target = namespace(prediction), _in_library_of(prediction, target, "target")
        self._check_shapes(prediction.shape, target.shape)
        self._check_dtypes(xp, prediction, target)
        if type(target) is not type(prediction) or target.device != prediction.device:
            ours, theirs = describe(target), describe(prediction)
            raise ValueError(f"target is on {ours} but the prediction is on {theirs}: use net.asarray(target)")
        if sample_weight is not None:
            sample_weight = self._check_weights(xp, prediction, sample_weight)
        if sample_weight is None and self.reduction == "mean" and (fused := self.fused_mean(prediction, target)):
            return self._checked(*fused)
        terms, dterms = self.unreduced(xp, prediction, target)
        weights = None
        if sample_weight is not None:
            weights = xp.reshape(sample_weight, (-1, *(1 for _ in prediction.shape[1:])))
            terms = terms * xp.reshape(sample_weight, (-1, *(1 for _ in terms.shape[1:])))
        mean = self.reduction not in ("sum", "none")
        n: Any = self.normalizer(xp, terms, target, sample_weight) if mean else 1.0
        if type(n) not in (int, float):  # a batch whose weights are all 0 has the loss 0
            n = xp.where(n > 0, n, xp.ones_like(n))

        def pullback(dloss: float | Array = 1.0) -> Array:
            if type(dloss) is not float:
                self._check_gradient(dloss, terms.shape)
            factor = dloss / n
            if 0 < getattr(factor, "ndim", 0) < prediction.ndim:  # one number an example
                factor = xp.expand_dims(factor, axis=-1)
            return dterms(factor if weights is None else factor * weights)

        return terms if self.reduction == "none" else xp.sum(terms) / n, pullback

    def _checked(self, value: Array, dvalue: Callable[[float | Array], Array]) -> tuple[Array, LossPullback]:
        """Return the value, and a pullback that checks its argument."""

        def pullback(dloss: float | Array = 1.0) -> Array:
            if type(dloss) is not float:
                self._check_gradient(dloss, value.shape)
            return dvalue(dloss)

        return value, pullback

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Array:
        """Return the value alone; on the host, also the values of the target are checked."""
        value, _ = self.vjp(prediction, target, sample_weight)
        if is_host_data(prediction := as_array(prediction, name="prediction")) and prediction.size:
            target = _in_library_of(prediction, target, "target")
            self.check_target(namespace(prediction), target, prediction.shape)
        return value

    def device_numbers(self, xp: Any, name: str, like: Array, n: int) -> Array:
        """
        Return the n numbers of an attribute as an array beside another one.

        An array is kept for each device and dtype, so that no step copies numbers to the device, and none is freed that
        a recorded step reads.
        """
        (kept, arrays), numbers = self._device_numbers, getattr(self, name)
        if len(numbers) != n:
            fix = "give one for each; a dict must name the last class"
            raise ValueError(f"{name} has {len(numbers)} numbers, the prediction {n} classes: {fix}")
        if kept != numbers:  # equal weights keep their arrays, which a recorded step may read
            arrays = ()
        for array in arrays:
            if type(array) is type(like) and array.device == like.device and array.dtype == like.dtype:
                return array
        if (largest := max(numbers, default=0.0)) > float(xp.finfo(like.dtype).max):
            raise ValueError(f"{name} holds {largest}, which is too large for {like.dtype}: divide all weights")
        array = xp.concat([xp.full((1,), number, dtype=like.dtype, device=like.device) for number in numbers])
        self._device_numbers = numbers, (*arrays, array)
        return array

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle without the array on the device."""
        return {name: value for name, value in vars(self).items() if name != "_device_numbers"}

    def _check_weights(self, xp: Any, prediction: Array, sample_weight: Any) -> Array:
        """Return the weights of the examples in the dtype of the prediction, after checks."""
        weights = _in_library_of(prediction, sample_weight, "sample_weight")
        if type(weights) is not type(prediction) or weights.device != prediction.device:
            ours, theirs = describe(weights), describe(prediction)
            raise ValueError(f"sample_weight is on {ours} but the prediction is on {theirs}: use net.asarray(...)")
        if tuple(weights.shape) != (n := prediction.shape[0],):
            raise ValueError(f"sample_weight must have shape ({n},), one weight an example, got {tuple(weights.shape)}")
        return in_dtype(xp, weights, prediction.dtype, "sample_weight")

    def _check_gradient(self, dloss: Any, shape: Shape) -> None:
        """Refuse what is neither a number nor, for reduction "none", an array of the terms' shape."""
        own = getattr(dloss, "shape", None)
        if as_number(dloss) is None and own != () and not (self.reduction == "none" and own == shape):
            also = f" or an array of the terms' shape {tuple(shape)}" if self.reduction == "none" else ""
            raise ValueError(f"dloss must be a number{also}, got {shown(dloss)}")

    def _check_dtypes(self, xp: Any, prediction: Array, target: Array) -> None:
        """Refuse integers that are no class indices: their differences would wrap round."""
        if not isdtype(xp, prediction.dtype, "real floating"):
            raise ValueError(f"prediction has dtype {prediction.dtype}: give floats, for instance prediction / 255")

    def _check_shapes(self, prediction: Shape, target: Shape) -> None:
        if target not in (fitting := self.target_shapes(prediction)):
            wanted = " or ".join(map(str, fitting))
            raise ValueError(f"target must have shape {wanted} to match the prediction {prediction}, got {target}")


def _in_library_of(prediction: Array, values: Any, name: str) -> Array:
    """Return an argument as an array; if it and the prediction are on the host, as one of the prediction's library."""
    array = as_array(values, name=name)
    if type(array) is type(prediction) or not (is_host_data(array) and is_host_data(prediction)):
        return array
    host = host_array(array, name=name)
    return host if isinstance(prediction, np.ndarray) else namespace(prediction).asarray(host)


def in_dtype(xp: Any, values: Array, dtype: Any, name: str) -> Array:
    """Return an array in a dtype; numbers of the host that are too large for it are refused."""
    return cast(values, dtype, name=name) if isinstance(values, np.ndarray) else xp.astype(values, dtype, copy=False)


def check_range(xp: Any, target: Array, high: float, rule: str, *, low: float = 0.0) -> None:
    """Refuse a target with values outside of [low, high]."""
    if xp.isdtype(target.dtype, "bool"):
        return
    smallest, largest = float(xp.min(target)), float(xp.max(target))
    if smallest < low or largest > high:
        raise ValueError(f"{rule}; the target reaches from {smallest:g} to {largest:g}")
