"""Figures shared by the experiments of source 004."""

from experiments.runner import Figures
from portanet import Layer, metrics
from portanet.datasets import Dataset


def f1(net: Layer, data: Dataset, name: str) -> Figures:
    """Return the F1 score of each class of the test set; ``name`` identifies the network in the names of figures."""
    _, _, scores = metrics.precision_recall_f1(y_true=data.y_test, y_pred=net.predict(data.x_test))
    return {f"F1 of {label}, {name}": float(score) for label, score in zip(data.classes, scores, strict=True)}
