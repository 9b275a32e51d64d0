"""Loss and metrics: by name, of a batch, and averaged over batches."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from portanet import metrics as functions
from portanet.backends import namespace
from portanet.losses import BCELoss, BCEWithLogitsLoss, ClassificationLoss, Loss
from portanet.training.callbacks import Logs
from portanet.typing import Array

TINY = 1e-30
"""Smallest divisor of a sum of weights."""

Metric: TypeAlias = Callable[[Array, Array], Array | float]

NAMES = {
    "accuracy": functions.accuracy,
    "binary_accuracy": functions.binary_accuracy,
    "top_k_accuracy": functions.top_k_accuracy,
    "mean_squared_error": functions.mean_squared_error,
    "mse": functions.mean_squared_error,
    "mean_absolute_error": functions.mean_absolute_error,
    "mae": functions.mean_absolute_error,
    "r2_score": functions.r2_score,
    "r2": functions.r2_score,
    "psnr": functions.psnr,
}
"""Metrics that can be given by name; "accuracy" is the one that fits the loss."""


def resolve(
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, str | Metric], loss: Loss
) -> dict[str, Metric]:
    """
    Return metrics by name; each name differs from all others and from "loss".

    Under a loss of yes-or-no outputs, accuracy and binary accuracy use the loss's threshold: 0 for logits, 0.5 for
    probabilities.

    Raises
    ------
    ValueError
        If a name is unknown, missing or used twice.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, (Mapping, Sequence)):
        raise TypeError(f"metrics must be a list or mapping of names or functions, got {metrics!r}")
    pairs = list(metrics.items()) if isinstance(metrics, Mapping) else [(_name(m), m) for m in metrics]
    names = ["loss", *(name for name, _ in pairs)]
    for name, metric in pairs:
        if not name or not name.isidentifier() or names.count(name) > 1:
            raise ValueError(
                f"metric {metric!r} needs a name of its own, got {name!r}: give a mapping, {{'name': metric}}"
            )
    return {name: _function(metric, loss) for name, metric in pairs}


def _name(metric: Any) -> str:
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", ""))


def _function(metric: str | Metric, loss: Loss) -> Metric:
    if isinstance(metric, str):
        if metric not in NAMES:
            raise ValueError(f"metric {metric!r} is unknown: choose one of {', '.join(NAMES)}, or give a function")
        metric = _accuracy(loss) if metric == "accuracy" else NAMES[metric]
    if not callable(metric):
        raise TypeError(f"metric must be a name or a function, got {metric!r}")
    if metric is functions.binary_accuracy and loss.threshold is not None:
        return partial(functions.binary_accuracy, threshold=loss.threshold)
    return metric


def _accuracy(loss: Loss) -> Metric:
    if isinstance(loss, (BCELoss, BCEWithLogitsLoss)):
        return functions.binary_accuracy
    if isinstance(loss, ClassificationLoss):
        return functions.accuracy
    raise ValueError(f"'accuracy' does not fit {loss!r}: name accuracy or binary_accuracy of portanet as a function")


def _needs_all(metric: Metric) -> bool:
    return bool(getattr(getattr(metric, "func", metric), "needs_all", False))


class Scorer:
    """
    The numbers of each batch, in a row of a table, and their averages.

    A row holds the loss, the sum of the weights if batches of equal size may differ in it, and the metrics.

    Parameters
    ----------
    loss : Loss
    metrics : dict of str to callable
    has_weights : bool
        Whether examples have weights.
    """

    def __init__(self, loss: Loss, metrics: Mapping[str, Metric], *, has_weights: bool):
        self.loss, self.metrics = loss, metrics
        self.weighted = loss.reduction == "mean" and (has_weights or getattr(loss, "weight", None) is not None)
        self.n_columns = 1 + self.weighted + len(metrics)
        self._of_all = [name for name, metric in metrics.items() if _needs_all(metric)]

    def row(
        self, value: Array, prediction: Array, y: Array, *, sample_weight: Array | None = None, of_all: bool = True
    ) -> list[Array | float]:
        """
        Return the numbers of a batch.

        ``of_all=False`` leaves out, as 0, the metrics that :meth:`with_metrics_of_all` computes.
        """
        xp = namespace(prediction)
        numbers: list[Any] = [value]
        if self.weighted:
            # Of the terms only their number counts here, up to a factor that all batches share.
            terms = prediction[..., 0] if prediction.ndim > 1 else prediction
            numbers.append(self.loss.normalizer(xp, terms, y, sample_weight))
        skipped = () if of_all else self._of_all
        numbers += [0.0 if name in skipped else metric(prediction, y) for name, metric in self.metrics.items()]
        return [xp.astype(n, value.dtype, copy=False) if hasattr(n, "dtype") else float(n) for n in numbers]

    def averages(self, table: np.ndarray, sizes: Sequence[int]) -> Logs:
        """Average rows: metrics by the sizes of the batches, the loss by its weights."""
        share = np.asarray(sizes) / sum(sizes)
        losses, metrics = table[:, 0], table[:, 1 + self.weighted :]
        if self.loss.reduction == "sum":
            loss = float(np.sum(losses))
        else:
            weights = table[:, 1] / max(float(np.sum(table[:, 1])), TINY) if self.weighted else share
            loss = float(weights @ losses)
        return {"loss": loss, **dict(zip(self.metrics, (share @ metrics).tolist(), strict=True))}

    @property
    def keeps_predictions(self) -> bool:
        """Whether a metric needs all predictions at once, because it is not a mean over batches."""
        return bool(self._of_all)

    def with_metrics_of_all(self, averages: Logs, prediction: Array, y: Array) -> Logs:
        """Replace those metrics by their values for all predictions."""
        return averages | {name: float(self.metrics[name](prediction, y)) for name in self._of_all}
