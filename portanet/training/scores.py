"""Metrics by name, and averages over batches."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from portanet import metrics as functions
from portanet.losses import BCELoss, BCEWithLogitsLoss, ClassificationLoss, Loss
from portanet.typing import Array

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


def needs_all(metric: Metric) -> bool:
    """Whether a metric must see all predictions at once, since a mean over batches is another number."""
    return bool(getattr(getattr(metric, "func", metric), "needs_all", False))
