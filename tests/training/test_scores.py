"""Metrics in ``fit`` and ``evaluate``: by name, as functions, and those that are no mean over batches."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend

rng = np.random.default_rng(0)
X = rng.normal(size=(23, 4))
Y = rng.normal(size=(23, 2))


def a_trainer(loss: pn.Loss, metrics: Any, device: Backend | None = None) -> pn.Trainer:
    return pn.Trainer(pn.Linear(4, 2).initialize(device=device, dtype="float64"), loss, pn.SGD(0.01), metrics=metrics)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("mean_squared_error", pn.mean_squared_error),
        ("mse", pn.mean_squared_error),
        ("mean_absolute_error", pn.mean_absolute_error),
        ("mae", pn.mean_absolute_error),
        ("r2_score", pn.r2_score),
        ("r2", pn.r2_score),
    ],
)
@pytest.mark.parametrize("batch_size", [5, 8, 23])
def test_a_named_metric_is_that_of_all_predictions_whatever_the_batch_size(
    backend: Backend, name: str, function: Callable[..., Any], batch_size: int
) -> None:
    trainer = a_trainer(pn.MSELoss(), [name], backend)
    names = ("y_pred", "y_true") if function is pn.r2_score else ("prediction", "target")
    expected = float(function(**dict(zip(names, map(trainer.net.asarray, (trainer.predict(X), Y)), strict=True))))
    assert trainer.evaluate(X, Y, batch_size=batch_size)[name] == pytest.approx(expected, rel=1e-9)


def test_one_metric_needs_no_list() -> None:
    for metric in ("mse", pn.mean_squared_error):
        (name, value) = list(a_trainer(pn.MSELoss(), metric).evaluate(X, Y).items())[1]
        assert name == getattr(metric, "__name__", metric)
        assert value == pytest.approx(a_trainer(pn.MSELoss(), ()).evaluate(X, Y)["loss"])


def test_a_mapping_names_metrics() -> None:
    scores = a_trainer(pn.MSELoss(), {"squares": "mse", "errors": pn.mean_absolute_error}).evaluate(X, Y)
    assert list(scores) == ["loss", "squares", "errors"]


def test_accuracy_under_cross_entropy_compares_classes(backend: Backend) -> None:
    labels = (Y[:, 0] > 0).astype("int64")
    trainer = a_trainer(pn.CrossEntropyLoss(), ["accuracy"], backend)
    expected = np.mean(trainer.predict(X).argmax(axis=1) == labels)
    for target in (labels, np.eye(2)[labels]):
        assert trainer.evaluate(X, target, batch_size=5)["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "metric", ["accuracy", "binary_accuracy", pn.binary_accuracy], ids=["accuracy", "binary_accuracy", "function"]
)
@pytest.mark.parametrize(
    ("loss", "threshold", "scale"),
    [(pn.BCEWithLogitsLoss(), 0.0, 1.0), (pn.BCELoss(), 0.5, 0.5), (pn.SoftMarginLoss(), 0.0, 1.0)],
    ids=str,
)
def test_binary_accuracy_thresholds_where_the_loss_does(
    backend: Backend, loss: pn.ElementwiseLoss, threshold: float, scale: float, metric: Callable[..., Any] | str
) -> None:
    net = pn.Sequential(pn.Linear(4, 2), *([pn.Sigmoid()] if isinstance(loss, pn.BCELoss) else []))
    trainer = pn.Trainer(net.initialize(device=backend, dtype="float64"), loss, pn.SGD(0.01), metrics=[metric])
    target, prediction = np.where(Y > 0, 1.0, -1.0 if isinstance(loss, pn.SoftMarginLoss) else 0.0), trainer.predict(X)
    expected = np.mean((prediction > threshold) == (target == 1))
    assert expected != np.mean((prediction > 0.5 - threshold) == (target == 1))
    scores = trainer.evaluate(X, target, batch_size=5)
    assert list(scores.values())[1] == pytest.approx(expected)
    assert list(scores)[1] == getattr(metric, "__name__", metric)


@pytest.mark.parametrize("metric", ["roc_auc", "roc_auc_score", pn.roc_auc_score], ids=["short", "name", "function"])
@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss(), pn.BCEWithLogitsLoss()], ids=repr)
def test_the_area_under_the_roc_curve_is_that_of_all_predictions(backend: Backend, metric: Any, loss: pn.Loss) -> None:
    name, trainer = getattr(metric, "__name__", metric), a_trainer(loss, [metric], backend)
    target = (Y[:, 0] > 0).astype("int64") if isinstance(loss, pn.CrossEntropyLoss) else (Y > 0).astype(float)
    expected = float(pn.roc_auc_score(y_true=target, y_score=trainer.predict(X)))
    assert trainer.evaluate(X, target, batch_size=5)[name] == pytest.approx(expected)
    settings: dict[str, Any] = {"batch_size": 5, "validation_data": (X, target), "progress": False}
    stop = pn.EarlyStopping(f"val_{name}", patience=3)
    assert 0 <= trainer.fit(X, target, epochs=2, callbacks=[stop], **settings)[name][0] <= 1


@pytest.mark.parametrize("metric", ["accuracy", pn.accuracy], ids=["name", "function"])
@pytest.mark.parametrize("batch_size", [5, 23])
def test_accuracy_leaves_out_the_labels_that_the_loss_ignores(backend: Backend, metric: Any, batch_size: int) -> None:
    labels = np.where(np.arange(23) % 3 == 0, -100, Y[:, 0] > 0)
    trainer = a_trainer(pn.CrossEntropyLoss(ignore_index=-100), {"share": metric}, backend)
    counted = labels != -100
    expected = np.mean(trainer.predict(X).argmax(axis=1)[counted] == labels[counted])
    assert trainer.evaluate(X, labels, batch_size=batch_size)["share"] == pytest.approx(expected)
    history = trainer.fit(X, labels, batch_size=batch_size, validation_data=(X, labels), progress=False)
    assert history["val_share"][0] == pytest.approx(trainer.evaluate(X, labels)["share"])


def test_accuracy_by_name_is_refused_under_a_loss_without_classes() -> None:
    with pytest.raises(ValueError, match=r"'accuracy' does not fit MSELoss\(\): name accuracy or binary_accuracy"):
        a_trainer(pn.MSELoss(), ["accuracy"])


@pytest.mark.parametrize("capture", ["auto", "never"])
def test_a_metric_may_return_a_python_float(backend: Backend, capture: Literal["auto", "never"]) -> None:
    def halves(prediction: Any, target: Any) -> float:
        return 0.5

    trainer = a_trainer(pn.MSELoss(), [halves, "mse"], backend)
    history = trainer.fit(X, Y, batch_size=5, validation_data=(X, Y), progress=False, capture=capture)
    assert history["halves"] == history["val_halves"] == [0.5]
    assert trainer.evaluate(X, Y, batch_size=5)["halves"] == pytest.approx(0.5)


def test_an_error_in_a_metric_names_the_metric() -> None:
    def first_column(prediction: Any, target: Any) -> Any:
        return prediction["first"]

    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1), metrics=[first_column])
    with pytest.raises(IndexError) as caught:
        trainer.fit(np.ones((2, 1)), np.ones((2, 1)), progress=False)
    assert caught.value.__notes__ == ["raised by metric 'first_column'"]
    with pytest.raises(IndexError) as caught:
        trainer.evaluate(np.ones((2, 1)), np.ones((2, 1)))
    assert caught.value.__notes__ == ["raised by metric 'first_column'"]


def test_metrics_set_later_are_those_that_the_constructor_takes() -> None:
    trainer = a_trainer(pn.MSELoss(), [])
    trainer.metrics = ["mse"]
    assert set(trainer.evaluate(X, Y)) == {"loss", "mse"}
    with pytest.raises(ValueError, match="metric 'f1' is unknown"):
        trainer.metrics = "f1"
    assert list(trainer.metrics) == ["mse"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        ValueError, match=r"metric 'f1' is unknown: choose one of accuracy, binary_accuracy, .*r2_score"
    ):
        a_trainer(pn.MSELoss(), ["f1"])


@pytest.mark.parametrize("metrics", [3, [3], [None], {"m": 3}], ids=str)
def test_what_is_neither_a_name_nor_a_function_is_refused(metrics: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="metric"):
        a_trainer(pn.MSELoss(), metrics)


@pytest.mark.parametrize("value", [1, True, 0.5, np.float32(0.5)])
def test_a_metric_may_return_any_number(value: Any) -> None:
    trainer = pn.Trainer(
        pn.Linear(4, 1).initialize(), pn.MSELoss(), pn.SGD(lr=0.1), metrics={"own": lambda p, t: value}
    )
    assert trainer.evaluate(np.ones((5, 4)), np.ones((5, 1)))["own"] == float(value)


@pytest.mark.parametrize("loss", [pn.MSELoss(), pn.BCEWithLogitsLoss()])
def test_metrics_take_the_targets_that_the_loss_takes(loss: pn.ElementwiseLoss) -> None:
    x, y = np.random.default_rng(0).normal(size=(5, 4)), np.asarray([0, 1, 1, 0, 1])
    trainer = pn.Trainer(pn.Linear(4, 1).initialize(), loss, pn.SGD(lr=0.1), metrics=["mse", "binary_accuracy"])
    assert trainer.evaluate(x, y) == trainer.evaluate(x, y[:, None])


@pytest.mark.parametrize("name", ["epoch", "lr", "val_loss", "val_accuracy"])
def test_a_name_that_the_history_uses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"is named '{name}', which the history uses itself: give another name"):
        pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1), metrics={name: "mse"})


def test_a_metric_is_tried_on_a_whole_batch() -> None:
    def needs_four(prediction: Any, target: Any) -> Any:
        assert len(target) >= 4
        return 1.0

    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1), metrics=[needs_four])
    x = np.ones((8, 1))
    assert trainer.fit(x, x, batch_size=4, progress=False)["needs_four"] == [1.0]


@pytest.mark.parametrize("metric", [pn.r2_score, pn.psnr])
def test_a_metric_of_all_predictions_is_no_mean_over_training_batches(backend: Backend, metric: Any) -> None:
    trainer = pn.Trainer(
        pn.Linear(4, 2).initialize(device=backend, dtype="float64"), pn.MSELoss(), pn.SGD(1e-12), metrics=[metric]
    )
    history = trainer.fit(X, Y, epochs=2, batch_size=5, progress=False)
    expected = trainer.evaluate(X, Y)[metric.__name__]
    assert history[metric.__name__] == [pytest.approx(expected, rel=1e-9)] * 2


def test_evaluate_keeps_a_metric_beyond_float32(backend: Backend) -> None:
    net = pn.Linear(1, 1, bias=False, init=pn.initializers.ones).initialize(device=backend)
    trainer = pn.Trainer(net, pn.L1Loss(), pn.SGD(0.0), metrics=["mean_squared_error"])
    scores = trainer.evaluate(np.full((2, 1), 1e25), np.zeros((2, 1)))
    assert scores["mean_squared_error"] == pytest.approx(1e50, rel=1e-6)
