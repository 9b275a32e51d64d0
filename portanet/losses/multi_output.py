"""One loss of networks with several outputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from portanet.checks import Fixed, check_choice, check_number, shown
from portanet.losses.base import Loss
from portanet.tree import tree_leaves
from portanet.typing import Array, LossPullback, Shapes

__all__ = ["MultiOutputLoss"]


def _by_key(values: Any) -> dict[Any, Any]:
    """Return the items of a dict, or those of a tuple by their index."""
    return values if isinstance(values, dict) else dict(enumerate(values))


def _check_losses(name: str, losses: Any) -> Any:
    """Return losses as a dict or tuple."""
    kept = dict(losses) if isinstance(losses, Mapping) else tuple(losses) if isinstance(losses, (list, tuple)) else ()
    fits = all(isinstance(loss, Loss) and not loss.takes_several for loss in _by_key(kept).values())
    if not kept or not fits or (isinstance(kept, dict) and not all(isinstance(key, str) for key in kept)):
        raise TypeError(f"{name} must be a dict or list of Loss objects, got {shown(losses)}: write MSELoss()")
    return kept


def _check_weights(name: str, weights: Any) -> Any:
    """Return numbers as a dict or tuple."""
    if weights is None:
        return None
    if not isinstance(weights, (Mapping, list, tuple)):
        raise ValueError(f"{name} must be a dict or list of numbers, got {shown(weights)}")
    kept = dict(weights) if isinstance(weights, Mapping) else dict(enumerate(weights))
    checked = {key: check_number(f"{name}[{key!r}]", weight, at_least=0) for key, weight in kept.items()}
    return checked if isinstance(weights, Mapping) else tuple(checked.values())


@contextmanager
def _named(output: Any) -> Iterator[None]:
    """Name the output in an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"output {output!r}: {error}") from None


class MultiOutputLoss(Loss):
    """
    Weighted sum of a loss for each output: ``Σ w loss(prediction, target)``.

    Prediction and target are dicts with the keys of ``losses``, or tuples of arrays if these are a list. A target may
    be a tuple in any case. The gradient with
    respect to an output is w times that of its loss.

    Parameters
    ----------
    losses : dict of str to Loss, or sequence of Loss
        One for each output, all with reduction "mean" or all with "sum".
    weights : dict of str to float, or sequence of float, optional
        w of each loss; by default, and for those that a dict leaves out, 1.

    Attributes
    ----------
    of_output : dict of str or int to Loss
        Each loss with the key or index of its output.

    Examples
    --------
    >>> losses = {"copy": portanet.MSELoss(), "label": portanet.CrossEntropyLoss()}
    >>> loss = MultiOutputLoss(losses, weights={"copy": 0.5})
    >>> prediction = {"copy": np.zeros((2, 3)), "label": np.zeros((2, 4))}
    >>> float(loss(prediction, {"copy": np.ones((2, 3)), "label": np.asarray([1, 3])}).round(3))
    1.886
    """

    takes_several = True
    losses = Fixed(_check_losses)
    weights = Fixed(_check_weights)
    reduction = Fixed(check_choice, choices=("mean", "sum"))

    def __init__(
        self,
        losses: Mapping[str, Loss] | Sequence[Loss],
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
    ):
        self.losses, self.weights = losses, weights
        self.of_output = _by_key(self.losses)
        reductions = {loss.reduction for loss in self.of_output.values()}
        if len(reductions) > 1:
            raise ValueError(f"losses must all have one reduction, got {' and '.join(sorted(reductions))}")
        super().__init__(reduction=reductions.pop())
        given = {} if self.weights is None else _by_key(self.weights)
        same_kind = self.weights is None or type(self.weights) is type(self.losses)
        missing = self.of_output.keys() - given.keys() if isinstance(self.weights, tuple) else set()
        if not same_kind or missing or given.keys() - self.of_output.keys():
            raise ValueError(f"weights must fit losses, {self.losses}, got {self.weights}")
        self._weights: dict[Any, float] = {key: given.get(key, 1.0) for key in self.of_output}

    def vjp(self, prediction: Any, target: Any, sample_weight: Array | None = None) -> tuple[Array, LossPullback]:
        predictions, targets = self._by_output("prediction", prediction), self._by_output("target", target)
        values, pullbacks = {}, {}
        for key, loss in self.of_output.items():
            with _named(key):
                values[key], pullbacks[key] = loss.vjp(predictions[key], targets[key], sample_weight)

        def pullback(dloss: float | Array = 1.0) -> Any:
            gradients = {key: pull(dloss * self._weights[key]) for key, pull in pullbacks.items()}
            return gradients if isinstance(prediction, dict) else tuple(gradients.values())

        return self._sum(values), pullback

    def __call__(self, prediction: Any, target: Any, sample_weight: Array | None = None) -> Array:
        predictions, targets = self._by_output("prediction", prediction), self._by_output("target", target)
        values = {}
        for key, loss in self.of_output.items():
            with _named(key):
                values[key] = loss(predictions[key], targets[key], sample_weight)
        return self._sum(values)

    def weight_of_batch(self, prediction: Any, target: Any, sample_weight: Array | None = None) -> float | Array:
        return super().weight_of_batch(tree_leaves(prediction)[0], target, sample_weight)

    def check_target(self, xp: Any, target: Any, shape: Shapes) -> None:
        targets, shapes = self._by_output("target", target), self._by_output("prediction", shape)
        for key, loss in self.of_output.items():
            with _named(key):
                loss.check_target(xp, targets[key], shapes[key])

    def fit_target(self, target: Any, shape: Shapes) -> Any:
        targets, shapes = self._by_output("target", target), self._by_output("prediction", shape)
        fitted = {key: loss.fit_target(targets[key], shapes[key]) for key, loss in self.of_output.items()}
        return fitted if isinstance(self.losses, dict) else tuple(fitted.values())

    @property
    def weighs_terms(self) -> bool:
        """Whether one of the losses gives its terms weights."""
        return any(loss.weighs_terms for loss in self.of_output.values())

    def weighted_sum(self, values: Sequence[float]) -> float:
        """Return ``Σ w value`` for the value of each loss."""
        return sum(weight * value for weight, value in zip(self._weights.values(), values, strict=True))

    def _sum(self, values: dict[Any, Array]) -> Array:
        first, *others = (self._weights[key] * value for key, value in values.items())
        return sum(others, start=first)

    def _by_output(self, name: str, values: Any) -> dict[Any, Any]:
        """Return the part of each loss."""
        keys = self.of_output.keys()
        if (
            isinstance(self.losses, dict)
            and name == "target"
            and isinstance(values, tuple)
            and len(values) == len(keys)
        ):
            return dict(zip(keys, values, strict=True))
        if isinstance(self.losses, dict):
            if not isinstance(values, dict) or values.keys() != keys:
                found = ", ".join(map(str, values)) if isinstance(values, dict) else shown(values)
                raise ValueError(f"{name} must be a dict with the keys {', '.join(keys)}, got {found}")
            return values
        if not isinstance(values, tuple) or len(values) != len(keys):
            raise ValueError(f"{name} must be a tuple of {len(keys)}, one for each loss, got {shown(values)}")
        return dict(enumerate(values))
