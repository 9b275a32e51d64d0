"""
Metrics of predictions and clusters, computed on the device of their arrays.

Metrics for training take ``(prediction, target)`` and return an array of shape (), left on the device. The attribute
``needs_all = True`` marks a metric that is not the mean of its values over batches, such as :func:`r2_score`: it must
be called once with all predictions.
"""

from typing import TYPE_CHECKING, Any

from portanet.metrics.classification import (
    accuracy,
    binary_accuracy,
    confusion_matrix,
    perplexity,
    precision_recall_f1,
    roc_auc_score,
    top_k_accuracy,
)
from portanet.metrics.clustering import cluster_purity, majority_labels, neighbourhood_hit
from portanet.metrics.regression import mean_absolute_error, mean_squared_error, psnr, r2_score
from portanet.names import unknown_name

__all__ = [
    "accuracy",
    "binary_accuracy",
    "cluster_purity",
    "confusion_matrix",
    "majority_labels",
    "mean_absolute_error",
    "mean_squared_error",
    "neighbourhood_hit",
    "perplexity",
    "precision_recall_f1",
    "psnr",
    "r2_score",
    "roc_auc_score",
    "top_k_accuracy",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        raise unknown_name(__name__, name, __all__)
