"""Weights of examples and classes in ``fit`` and ``evaluate``."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend

rng = np.random.default_rng(0)
N = 12
X = rng.normal(size=(N, 4))
LABELS = np.arange(N) % 3
PADDED = np.where(np.arange(N) % 5 == 1, -100, LABELS)
VALUES = rng.normal(size=(N, 3))
CLASS_WEIGHT = {0: 2.0, 2: 0.5}  # class 1 weighs 1
SEQUENCE = (2.0, 1.0, 0.5)

CASES = {
    "indices": (pn.CrossEntropyLoss(), LABELS),
    "one-hot": (pn.CrossEntropyLoss(), np.eye(3)[LABELS]),
    "smoothed": (pn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    "weighted classes": (pn.CrossEntropyLoss(weight=SEQUENCE), LABELS),
    "squares": (pn.MSELoss(), VALUES),
    "ignored labels": (pn.CrossEntropyLoss(ignore_index=-100), PADDED),
    "ignored and weighted": (pn.CrossEntropyLoss(ignore_index=-100, weight=SEQUENCE, label_smoothing=0.1), PADDED),
    "ignored class": (pn.CrossEntropyLoss(ignore_index=1), LABELS),
    "margins": (pn.MultiMarginLoss(weight=SEQUENCE), LABELS),
    "logits": (pn.BCEWithLogitsLoss(), np.eye(3)[LABELS]),
    "weighted answers": (pn.BCEWithLogitsLoss(pos_weight=SEQUENCE), np.eye(3)[LABELS]),
    "Huber": (pn.HuberLoss(), VALUES),
}
cases = pytest.mark.parametrize(("loss", "y"), CASES.values(), ids=CASES)


def a_trainer(
    loss: pn.Loss,
    device: Backend | None = None,
    *,
    n_outputs: int = 3,
    lr: float = 0.1,
    metrics: Sequence[str] = (),
) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 5), pn.TanH(), pn.Linear(5, n_outputs))
    return pn.Trainer(net.initialize(seed=1, device=device, dtype="float64"), loss, pn.SGD(lr), metrics=metrics)


def trained(
    loss: pn.Loss, x: np.ndarray, y: np.ndarray, device: Backend | None = None, n_outputs: int = 3, **settings: Any
) -> list[np.ndarray]:
    """Return the weights after three steps on all examples at once, and the loss of each."""
    trainer = a_trainer(loss, device, n_outputs=n_outputs)
    history = trainer.fit(x, y, epochs=3, batch_size=100, progress=False, **settings)
    return [*trainer.net.get_weights().values(), np.asarray(history["loss"])]


def assert_close(*runs: list[np.ndarray]) -> None:
    for one, other in zip(*runs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@cases
def test_an_example_of_weight_two_counts_twice(backend: Backend, loss: pn.Loss, y: Any) -> None:
    weights, rows = np.ones(N), [*range(N), 3, 8]
    weights[[3, 8]] = 2.0
    assert_close(trained(loss, X, y, backend, sample_weight=weights), trained(loss, X[rows], y[rows], backend))


@cases
def test_an_example_of_weight_zero_is_left_out(backend: Backend, loss: pn.Loss, y: Any) -> None:
    kept = np.arange(N) % 4 != 1
    assert_close(
        trained(loss, X, y, backend, sample_weight=kept.astype(float)), trained(loss, X[kept], y[kept], backend)
    )


@cases
def test_equal_weights_of_any_size_change_nothing(loss: pn.Loss, y: Any) -> None:
    assert_close(trained(loss, X, y, sample_weight=np.full(N, 7.0)), trained(loss, X, y))


@cases
def test_a_batch_whose_weights_are_all_zero_changes_nothing(backend: Backend, loss: pn.Loss, y: Any) -> None:
    trainer = a_trainer(loss, backend)
    before, asarray = trainer.net.get_weights(), trainer.net.asarray
    assert float(trainer.step(asarray(X), asarray(y), asarray(np.zeros(N)))) == 0.0
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


@cases
@pytest.mark.parametrize("capture", ["auto", "never"])
def test_the_loss_of_an_epoch_is_the_weighted_mean_over_unequal_batches(
    backend: Backend, loss: pn.Loss, y: Any, capture: Literal["auto", "never"]
) -> None:
    weights = np.linspace(0.0, 3.0, N)
    weights[5:10] = 0.0  # all of the second batch
    trainer = a_trainer(loss, backend, lr=1e-12)
    settings: dict[str, Any] = {"batch_size": 5, "shuffle": False, "progress": False, "capture": capture}
    (logged,) = trainer.fit(X, y, sample_weight=weights, **settings)["loss"]
    expected = float(
        loss(trainer.net.asarray(trainer.predict(X)), trainer.net.asarray(y), trainer.net.asarray(weights))
    )
    assert logged == pytest.approx(expected, rel=1e-9)
    for batch_size in (5, 100):
        scores = trainer.evaluate(X, y, sample_weight=weights, batch_size=batch_size)
        assert scores["loss"] == pytest.approx(expected, rel=1e-9)


def test_the_sum_of_losses_is_weighted(backend: Backend) -> None:
    loss, weights = pn.MSELoss(reduction="sum"), np.linspace(0.0, 3.0, N)
    scores = a_trainer(loss, backend).evaluate(X, VALUES, sample_weight=weights, batch_size=5)
    terms = (a_trainer(loss).predict(X) - VALUES) ** 2
    assert scores["loss"] == pytest.approx(float(weights @ terms.sum(axis=1)))


@pytest.mark.parametrize("class_weight", [CLASS_WEIGHT, SEQUENCE, list(SEQUENCE), np.asarray(SEQUENCE)], ids=repr)
@pytest.mark.parametrize("y", [LABELS, np.eye(3)[LABELS], LABELS.astype("uint8")], ids=["indices", "one-hot", "bytes"])
def test_class_weights_multiply_the_weights_of_examples(backend: Backend, class_weight: Any, y: Any) -> None:
    weights, loss = np.linspace(0.5, 2.0, N), pn.CrossEntropyLoss()
    assert_close(
        trained(loss, X, y, backend, class_weight=class_weight, sample_weight=weights),
        trained(loss, X, y, backend, sample_weight=weights * np.asarray(SEQUENCE)[LABELS]),
    )
    assert_close(
        trained(loss, X, y, backend, class_weight=class_weight),
        trained(loss, X, y, backend, sample_weight=np.asarray(SEQUENCE)[LABELS]),
    )


def test_class_weights_leave_labels_alone_that_the_loss_ignores(backend: Backend) -> None:
    loss = pn.CrossEntropyLoss(ignore_index=-100)
    weights = np.where(PADDED == -100, 5.0, np.asarray(SEQUENCE)[LABELS])
    assert_close(
        trained(loss, X, PADDED, backend, class_weight=SEQUENCE),
        trained(loss, X, PADDED, backend, sample_weight=weights),
    )


def test_class_weights_are_those_of_the_loss(backend: Backend) -> None:
    assert_close(
        trained(pn.CrossEntropyLoss(), X, LABELS, backend, class_weight=CLASS_WEIGHT),
        trained(pn.CrossEntropyLoss(weight=CLASS_WEIGHT), X, LABELS, backend),
    )


@pytest.mark.parametrize("class_weight", [{1: 3.0}, (1.0, 3.0)], ids=repr)
@pytest.mark.parametrize("shape", [(N, 1), (N,)], ids=str)
def test_class_weights_of_yes_or_no_targets(
    backend: Backend, class_weight: dict[int, float] | tuple[float, float], shape: tuple[int, ...]
) -> None:
    loss, y = pn.BCEWithLogitsLoss(), (LABELS == 1).astype(float).reshape(shape)
    assert_close(
        trained(loss, X, y, backend, n_outputs=1, class_weight=class_weight),
        trained(loss, X, y, backend, n_outputs=1, sample_weight=np.where(LABELS == 1, 3.0, 1.0)),
    )


def test_validation_split_takes_the_last_examples(backend: Backend) -> None:
    weights = np.linspace(0.5, 2.0, N)
    runs = []
    splits: list[dict[str, Any]] = [
        {"x": X, "y": LABELS, "sample_weight": weights, "validation_split": 0.25},
        {
            "x": X[:9],
            "y": LABELS[:9],
            "sample_weight": weights[:9],
            "validation_data": (X[9:], LABELS[9:], weights[9:]),
        },
    ]
    for settings in splits:
        trainer = a_trainer(pn.CrossEntropyLoss(), backend, metrics=["accuracy"])
        runs.append(trainer.fit(**settings, batch_size=4, epochs=2, progress=False).epochs)
    assert runs[0] == runs[1]
    assert list(runs[0][0]) == ["loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_split": 1.5}, r"validation_split must be a number in \[0, 1\), got 1.5"),
        ({"validation_split": -0.1}, r"validation_split must be a number in \[0, 1\), got -0\.1"),
        ({"validation_split": 0.01}, r"must leave examples in both parts, got 0\.01 of 12 examples"),
        ({"validation_split": 0.5, "validation_data": (X, LABELS)}, "either validation_data or validation_split"),
        ({"validation_data": X}, r"validation_data must be a tuple \(x, y\) or \(x, y, sample_weight\)"),
        (
            {"validation_data": (X, LABELS, np.ones(5))},
            r"validation sample_weight must have shape \(12,\), one weight an example, got \(5,\)",
        ),
        ({"sample_weight": np.ones(11)}, r"sample_weight must have shape \(12,\), one weight an example, got \(11,\)"),
        ({"sample_weight": np.ones((N, 1))}, r"sample_weight must have shape \(12,\).*got \(12, 1\)"),
        ({"sample_weight": 2.0}, "sample_weight is a single number"),
        ({"sample_weight": -np.ones(N)}, "give a finite number of at least 0 for each example"),
        ({"sample_weight": np.full(N, np.nan)}, "give a finite number of at least 0 for each example"),
        ({"sample_weight": np.full(N, np.inf)}, "give a finite number of at least 0 for each example"),
        ({"sample_weight": np.zeros(N)}, "sample_weight holds zeros only"),
        ({"sample_weight": ["a"] * N}, "sample_weight has dtype <U1: give numbers"),
        ({"class_weight": {3: 1.0}}, "class_weight names class 3, but the classes are 0 to 2"),
        ({"class_weight": {-1: 1.0}}, "class_weight must have class indices for keys, got {-1: 1.0}"),
        ({"class_weight": {"cat": 1.0}}, "class_weight must have class indices for keys, got {'cat': 1.0}"),
        ({"class_weight": {}}, "class_weight must have class indices for keys, got {}"),
        ({"class_weight": (1.0, 2.0)}, "class_weight has 2 weights for 3 classes"),
        (
            {"class_weight": (1.0, -2.0, 1.0)},
            "class_weight must be a list or dict with a number of at least 0 for each class",
        ),
        (
            {"class_weight": {1: np.nan}},
            "class_weight must be a list or dict with a number of at least 0 for each class",
        ),
        ({"class_weight": (0.0, 0.0, 0.0)}, "class_weight leaves no example with a weight above 0"),
        (
            {"class_weight": "balanced"},
            "class_weight must be a list or dict with a number of at least 0 for each class, got 'balanced'",
        ),
    ],
    ids=str,
)
def test_unfit_weights_name_the_argument_and_change_nothing(settings: dict[str, Any], message: str) -> None:
    trainer = a_trainer(pn.CrossEntropyLoss())
    before = trainer.net.flat.data.copy()
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, LABELS, progress=False, **settings)
    np.testing.assert_array_equal(trainer.net.flat.data, before)


@pytest.mark.parametrize("loss", [pn.MSELoss(), pn.L1Loss()], ids=repr)
def test_class_weights_need_classes(loss: pn.ElementwiseLoss) -> None:
    with pytest.raises(ValueError, match="class_weight needs one class for each example"):
        a_trainer(loss, n_outputs=2).fit(X, VALUES[:, :2], class_weight={0: 2.0}, progress=False)


@pytest.mark.parametrize("loss", [pn.CrossEntropyLoss(weight=(1, 2, 9)), pn.NLLLoss(weight=(1, 2, 9)), pn.MSELoss()])
@pytest.mark.parametrize("one_hot", [True, False])
def test_batches_average_to_the_loss_of_all(loss: pn.Loss, one_hot: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)).astype("float32"), np.asarray([0, 0, 1, 2, 2, 1])
    if one_hot or isinstance(loss, pn.MSELoss):
        y = np.eye(3, dtype="float32")[y]
    net = pn.Linear(4, 3).initialize(seed=1)
    weight = rng.uniform(size=6).astype("float32")
    score = pn.Trainer(net, loss, pn.SGD(lr=0.1)).evaluate(x, y, sample_weight=weight, batch_size=4)
    assert score["loss"] == pytest.approx(float(loss(net(x), y, weight)), rel=1e-5)


def test_class_weight_refuses_soft_targets() -> None:
    trainer = pn.Trainer(pn.Linear(4, 3).initialize(seed=1), pn.CrossEntropyLoss(), pn.SGD(lr=0.1))
    with pytest.raises(ValueError, match="one class for each example"):
        trainer.fit(np.ones((2, 4)), np.full((2, 3), 1 / 3), epochs=1, class_weight=[1, 2, 3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_weight": np.full(N, 1e39)}, "sample_weight holds numbers too large for float32"),
        ({"sample_weight": np.full(N, 1e38)}, "sample_weight has a sum too large for .*float32: divide all weights"),
        ({"class_weight": [1e39, 1, 1]}, "class_weight holds numbers too large for float32"),
        (
            {"sample_weight": np.full(N, 1e25), "class_weight": [1e25, 1, 1]},
            "class_weight times sample_weight holds inf",
        ),
    ],
    ids=["weights", "sum", "class weights", "product"],
)
def test_weights_too_large_for_the_dtype_are_refused_by_name(
    backend: Backend, settings: dict[str, Any], message: str
) -> None:
    trainer = a_trainer(pn.CrossEntropyLoss(), backend)
    trainer = pn.Trainer(trainer.net.to(dtype="float32"), pn.CrossEntropyLoss(), pn.SGD(0.1))
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, np.arange(N) % 3, progress=False, **settings)
