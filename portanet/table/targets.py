"""The target of a table: classes or numbers, with the scores and the baseline of each."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import pandas as pd

from portanet import kernels, metrics
from portanet.checks import check_choice, shown
from portanet.schema import NUMBER, Schema, first_mismatch, is_positive
from portanet.sklearn import NetClassifier, NetRegressor
from portanet.table import pictures
from portanet.table.columns import MIN_PARSED_SHARE, is_set_of, numbers, read_cells, texts
from portanet.table.wording import listed

MAX_CLASSES = 100
MAX_WHOLE_CLASSES = 20
"""Most different whole numbers that are taken for classes."""


@dataclass(frozen=True)
class ClassTarget:
    """Classes: the network returns a logit for each."""

    name: str
    classes: list[Any]

    task: ClassVar[str] = "classification"
    schema: ClassVar[dict[Any, Schema]] = {"name": str, "classes": is_set_of(int, str)}
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro")
    estimator: ClassVar[type[NetClassifier]] = NetClassifier
    picture: ClassVar[str] = "confusion.png"
    baseline: ClassVar[str] = "most frequent class"

    @classmethod
    def fit(cls, cells: pd.Series) -> Self:
        """Find the classes of the cells: whole numbers, else texts."""
        found = _labels(cells)
        classes = sorted(found.unique().tolist())
        if len(classes) == 1:
            raise ValueError(f"the target {shown(cells.name)} is always {shown(classes[0])}: there is nothing to learn")
        if len(classes) > min(MAX_CLASSES, len(cells) // 2):
            raise ValueError(
                f"the target {shown(cells.name)} has {len(classes):,} classes in {len(cells):,} rows: give a target "
                f"with at most {MAX_CLASSES} classes and at least two rows a class, or --task regression for numbers"
            )
        return cls(str(cells.name), classes)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of the network."""
        return len(self.classes)

    def fitted(self, estimator: Any) -> Self:
        """Return the target after the training of an estimator."""
        return self

    def read(self, cells: pd.Series) -> np.ndarray:
        """Return the index of the class of each cell, shape (N,)."""
        return np.asarray(pd.Index(self.classes).get_indexer(_labels(cells)))

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probability of each class from outputs of the network, shape (N, C)."""
        return np.asarray(kernels.softmax(outputs))

    def predict_baseline(self, y: np.ndarray, n: int) -> np.ndarray:
        """Return the prediction of the most frequent class of y for n rows."""
        most_frequent = np.bincount(y, minlength=self.n_outputs).argmax()
        return np.tile(np.eye(self.n_outputs)[most_frequent], (n, 1))

    def score(self, y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, float]:
        """Return the share of right classes, and the F1 score as a mean over the classes."""
        *_, f1 = metrics.precision_recall_f1(y_true=y_true, y_pred=y_pred, n_classes=self.n_outputs)
        return {"accuracy": float(metrics.accuracy(y_pred, y_true)), "f1_macro": float(f1.mean())}

    def draw(self, y_true: np.ndarray, y_pred: np.ndarray) -> bytes:
        """Draw the confusion matrix."""
        counts = metrics.confusion_matrix(y_true=y_true, y_pred=y_pred, n_classes=self.n_outputs)
        return pictures.confusion(counts, [*map(str, self.classes)])

    def frame(self, y_pred: np.ndarray) -> pd.DataFrame:
        """Return the predicted class of each row, and the probability of each class."""
        classes = np.asarray(self.classes)[y_pred.argmax(axis=1)]
        probabilities = {f"probability of {name}": y_pred[:, i] for i, name in enumerate(self.classes)}
        return pd.DataFrame({"prediction": classes, **probabilities})

    def describe(self) -> str:
        """Say what is predicted."""
        return f"one of {self.n_outputs} classes: {listed(self.classes)}"


@dataclass(frozen=True)
class NumberTarget:
    """A number: the network returns it standardized."""

    name: str
    mean: float = 0.0
    scale: float = 1.0

    task: ClassVar[str] = "regression"
    schema: ClassVar[dict[Any, Schema]] = {"name": str, "mean": NUMBER, "scale": is_positive}
    scores: ClassVar[tuple[str, ...]] = ("r2", "mean_absolute_error", "root_mean_squared_error")
    estimator: ClassVar[type[NetRegressor]] = NetRegressor
    picture: ClassVar[str] = "residuals.png"
    baseline: ClassVar[str] = "mean"
    n_outputs: ClassVar[int] = 1

    @classmethod
    def fit(cls, cells: pd.Series) -> Self:
        """Check that the cells are numbers, and not all the same."""
        values = read_cells(cells, numbers, "number")
        if values.nunique() == 1:
            raise ValueError(f"the target {shown(cells.name)} is always {values.iloc[0]:g}: there is nothing to learn")
        return cls(str(cells.name))

    def fitted(self, estimator: Any) -> Self:
        """Return the target with the mean and the scale by which an estimator standardized it."""
        return replace(self, mean=estimator.target_mean_[0], scale=estimator.target_scale_[0])

    def read(self, cells: pd.Series) -> np.ndarray:
        """Return the cells as numbers, shape (N,)."""
        return np.asarray(read_cells(cells, numbers, "number"))

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        """Return numbers from outputs of the network, shape (N,)."""
        return outputs[:, 0] * self.scale + self.mean

    def predict_baseline(self, y: np.ndarray, n: int) -> np.ndarray:
        """Return the mean of y for n rows."""
        return np.full(n, y.mean())

    def score(self, y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, float]:
        """Return the coefficient of determination and the mean errors."""
        return {
            "r2": float(metrics.r2_score(y_true=y_true, y_pred=y_pred)),
            "mean_absolute_error": float(metrics.mean_absolute_error(y_pred, y_true)),
            "root_mean_squared_error": float(metrics.mean_squared_error(y_pred, y_true)) ** 0.5,
        }

    def draw(self, y_true: np.ndarray, y_pred: np.ndarray) -> bytes:
        """Draw the residuals over the predictions."""
        return pictures.residuals(y_true, y_pred, self.name)

    def frame(self, y_pred: np.ndarray) -> pd.DataFrame:
        """Return the predicted number of each row."""
        return pd.DataFrame({"prediction": y_pred})

    def describe(self) -> str:
        """Say what is predicted."""
        return f"a number; mean {self.mean:g}, standard deviation {self.scale:g}"


Target: TypeAlias = ClassTarget | NumberTarget
TASKS: dict[str, type[ClassTarget | NumberTarget]] = {kind.task: kind for kind in (ClassTarget, NumberTarget)}


def fit_target(cells: pd.Series, task: str) -> Target:
    """
    Choose between classes and numbers, for a column without missing cells.

    Texts and few different whole numbers are classes, other numbers are numbers; ``task`` overrides this.

    Examples
    --------
    >>> fit_target(pd.Series(["no", "yes", "no", "no"], name="survived"), "auto")
    ClassTarget(name='survived', classes=['no', 'yes'])
    >>> fit_target(pd.Series(["1.5", "2", "3"], name="height"), "auto")
    NumberTarget(name='height', mean=0.0, scale=1.0)
    """
    check_choice("task", task, choices=("auto", *TASKS))
    if task == "auto":
        values = numbers(cells)
        n_different, fit_for_classes = values.nunique(), min(MAX_WHOLE_CLASSES, len(cells) // 10)
        few = bool((values.dropna() % 1 == 0).all()) and n_different <= max(2, fit_for_classes)
        task = "regression" if values.notna().mean() >= MIN_PARSED_SHARE and not few else "classification"
        if task == "classification" and values.notna().mean() >= MIN_PARSED_SHARE:
            read_cells(cells, numbers, "number")
    return TASKS[task].fit(cells)


def _labels(cells: pd.Series) -> pd.Series:
    """Return cells as whole numbers if they all are, else as texts."""
    values = numbers(cells)
    whole = (values % 1 == 0) & (values.abs() < 2**53)
    return values.astype("int64") if whole.all() else texts(cells)


def target_to_json(target: Target) -> dict[str, Any]:
    """Return what :func:`target_from_json` builds the target from."""
    return {"task": target.task, **asdict(target)}


def target_from_json(value: dict[str, Any]) -> Target:
    """
    Build a target again, after checks of its description.

    Examples
    --------
    >>> target_from_json({"task": "regression", "name": "height", "mean": 1.7, "scale": 0})
    Traceback (most recent call last):
    ...
    ValueError: scale is 0
    """
    kind = TASKS[check_choice("task", value["task"], choices=tuple(TASKS))]
    if mismatch := first_mismatch(value, kind.schema):
        raise ValueError(mismatch)
    return kind(**{name: value[name] for name in kind.schema})
