"""Training a network on a table: the split, the estimator, and the scores of the test rows."""

import math
import platform
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.exceptions import ConvergenceWarning

from portanet.backends import Backend
from portanet.checks import check_count, check_seed, shown
from portanet.config import from_json
from portanet.datasets import train_test_split
from portanet.files import as_file_errors, read_json
from portanet.layers import Layer, Normalize, Sequential
from portanet.layers.base import check_layer
from portanet.layers.sequential import first_layer
from portanet.table.columns import Dropped, fit_column
from portanet.table.encoder import Encoder
from portanet.table.model import TableNet, check_fit
from portanet.table.targets import Target, fit_target
from portanet.training import History
from portanet.typing import Shape
from portanet.version import __version__

MIN_ROWS = 10
TEST_SIZE, VALIDATION_FRACTION = 0.2, 0.15
"""Share of test rows, and share of validation rows among the others; they decide which epoch is the best."""

BATCH_SIZE, PATIENCE = 32, 20


@dataclass(frozen=True)
class Trained:
    """A network for a table, the history of its training, and targets and predictions of the test rows."""

    net: TableNet
    history: History
    y_true: np.ndarray
    y_pred: np.ndarray


def train(
    table: pd.DataFrame,
    target_name: str,
    *,
    data: str,
    model: str = "128-64",
    task: str = "auto",
    epochs: int = 200,
    seed: int = 0,
    device: str | Backend | None = "auto",
) -> Trained:
    """
    Train a network that predicts a column of a table.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`portanet.table.reading.read_table` returns.
    target_name : str
        The column to predict.
    data : str
        What to call the table in the report.
    model : str
        Sizes of the hidden layers such as "128-64", or the path of a JSON file that holds the description of a network.
    task : {"auto", "classification", "regression"}
        Whether the target is a class or a number.
    epochs : int
        Most epochs. Training ends when the loss of the validation rows no longer falls.
    seed : int
        Decides the split, the initial weights and the order of the rows.
    device : str
        Where to train.

    Raises
    ------
    ValueError
        If the table, the target or an argument is unfit.
    """
    check_count("epochs", epochs)
    check_seed(seed)
    settings = _read_model(model)
    if target_name not in table:
        raise ValueError(f"the table has no column {shown(target_name)}: give one of {shown([*table.columns])}")
    rows = table[table[target_name].notna()]
    if len(rows) < MIN_ROWS:
        raise ValueError(f"training needs at least {MIN_ROWS} rows with a target, but the table has {len(rows)}")
    target = fit_target(rows[target_name], task)
    y = target.read(rows[target_name])
    fitted, test = _split(y, target, seed)
    columns = [fit_column(rows[name].iloc[fitted]) for name in rows.columns if name != target_name]
    if all(isinstance(column, Dropped) for column in columns):
        reasons = "; ".join(f"{shown(column.name)} is {column.describe()}" for column in columns[:5]) or "it is alone"
        raise ValueError(f"the table has no column to predict {shown(target_name)} from: {reasons}")
    encoder = Encoder(columns)
    x = encoder.transform(rows)
    estimator = target.estimator(
        **settings(encoder.n_inputs, target.n_outputs),
        batch_size=BATCH_SIZE,
        max_iter=epochs,
        early_stopping=True,
        validation_fraction=VALIDATION_FRACTION,
        n_iter_no_change=PATIENCE,
        tol=0.0,  # so that the best epoch is that of the lowest loss
        random_state=seed,
        device=device,
        verbose=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the report says how many epochs there were
        estimator.fit(x[fitted], y[fitted])
    history, n_validation = estimator.trainer_.history, math.ceil(VALIDATION_FRACTION * len(fitted))
    training: dict[str, Any] = {
        "data": data,
        "rows": {
            "training": len(fitted) - n_validation,
            "validation": n_validation,
            "test": len(test),
            "without_target": len(table) - len(rows),
        },
        "epochs": estimator.n_iter_,
        "best_epoch": 1 + int(np.nanargmin(history["val_loss"])),
        "seed": seed,
        "versions": _versions(),
    }
    net = TableNet(estimator.net_, columns, target.fitted(estimator), training)
    y_true, y_pred = y[test], net.predict(rows.iloc[test])
    training["scores"] = target.score(y_true, y_pred)
    training["baseline"] = target.score(y_true, target.predict_baseline(y[fitted], len(test)))
    return Trained(net, history, y_true, y_pred)


def _split(y: np.ndarray, target: Target, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to fit and the test rows: the same share of each class, but never all of its rows."""
    classes = y if target.task == "classification" else np.zeros(len(y), dtype="int64")
    rows = np.arange(len(y))
    alone = np.bincount(classes)[classes] == 1
    fitted, test = train_test_split(rows[~alone], test_size=TEST_SIZE, stratify=classes[~alone], random_state=seed)
    return np.sort(np.concatenate([fitted, rows[alone]])), test


def _read_model(model: str) -> Callable[[int, int], dict[str, Any]]:
    """Return a function from the numbers of inputs and outputs to the settings of an estimator."""
    if re.fullmatch(r"\d+(-\d+)*", model):
        sizes = tuple(check_count("model", int(size)) for size in model.split("-"))
        return lambda n_inputs, n_outputs: {"hidden_layer_sizes": sizes}
    if not model.endswith(".json"):
        raise ValueError(f"model must be sizes of hidden layers such as 128-64, or a JSON file, got {shown(model)}")
    config = read_json(Path(model))
    with as_file_errors(model):
        net = check_layer("its content", from_json(config))

    def settings(n_inputs: int, n_outputs: int) -> dict[str, Any]:
        with as_file_errors(model):
            check_fit(net, n_inputs, n_outputs)
        return {"net": build}

    def build(shape: Shape, n_outputs: int) -> Layer:
        return net if isinstance(first_layer(net), Normalize) else Sequential(Normalize(shape[0]), net)

    return settings


def _versions() -> dict[str, str]:
    libraries = {library.__name__: library.__version__ for library in (np, pd, sklearn)}
    return {"portanet": __version__, "python": platform.python_version(), **libraries}
