"""What is copied from the host to the device, and how much at once."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.training.scores import evaluate

N = 40
X = np.random.default_rng(0).normal(size=(N, 4))
LABELS = np.arange(N) % 3


@dataclass(frozen=True, eq=False)
class Measured(Backend):
    """A backend that notes the rows of each array of ``X``'s or the labels' length that is copied to it."""

    rows: list[int] = field(default_factory=list)

    def asarray(self, values: Any, dtype: str | None = None, *, name: str = "array") -> Any:
        if isinstance(values, np.ndarray) and values.ndim:
            self.rows.append(values.shape[0])
        return super().asarray(values, dtype, name=name)


@pytest.fixture
def measured() -> Measured:
    """The strict backend on a device that holds no whole data set."""
    pytest.importorskip("array_api_strict")
    fields = {name: value for name, value in vars(pn.get_backend("strict")).items() if name != "fits"}
    return Measured(**fields, fits=lambda nbytes: False)


@pytest.fixture
def trainer(measured: Measured) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 3), pn.TanH())
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1), metrics=["accuracy"], device=measured)
    measured.rows.clear()
    return trainer


def test_predict_copies_a_batch_at_a_time(measured: Measured, trainer: pn.Trainer) -> None:
    y = trainer.predict(X, batch_size=7)
    assert max(measured.rows) == 7
    assert sum(measured.rows) == N
    np.testing.assert_allclose(y, trainer.predict(X, batch_size=N), rtol=1e-6)


def test_predict_copies_a_batch_at_a_time_also_where_all_would_fit(measured: Measured, trainer: pn.Trainer) -> None:
    object.__setattr__(measured, "fits", lambda nbytes: True)
    trainer.predict(X, batch_size=7)
    assert max(measured.rows) == 7


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 1.5, N)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("fits", [True, False])
def test_evaluate_copies_a_batch_at_a_time(measured: Measured, trainer: pn.Trainer, weights: Any, fits: bool) -> None:
    object.__setattr__(measured, "fits", lambda nbytes: fits)
    scores = trainer.evaluate(X, LABELS, sample_weight=weights, batch_size=7)
    assert 0 < max(measured.rows) <= 7
    object.__setattr__(measured, "fits", lambda nbytes: True)
    whole = trainer.evaluate(X, LABELS, sample_weight=weights, batch_size=N)
    assert scores == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 1.5, N)], ids=["unweighted", "weighted"])
def test_fit_copies_training_and_validation_data_a_batch_at_a_time(
    measured: Measured, trainer: pn.Trainer, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "__defaults__", (7,))  # batch_size of validation
    settings = {"sample_weight": weights, "class_weight": {0: 2.0}, "batch_size": 7, "shuffle": False}
    validation = (X, LABELS) if weights is None else (X, LABELS, weights)
    history = trainer.fit(X, LABELS, validation_data=validation, epochs=2, progress=False, **settings)
    assert 0 < max(measured.rows) <= 7
    twin = pn.Trainer(pn.Sequential(pn.Linear(4, 3), pn.TanH()), pn.CrossEntropyLoss(), pn.SGD(0.1), metrics="accuracy")
    expected = twin.fit(X, LABELS, validation_data=validation, epochs=2, progress=False, **settings)
    assert list(history) == list(expected)
    for name, values in history.items():
        assert values == pytest.approx(expected[name], rel=1e-5)


def test_validation_data_are_evaluated_a_thousand_at_a_time(measured: Measured) -> None:
    net, n = pn.Linear(1, 1).initialize(device=measured), 2500
    x = np.ones((n, 1), "float32")
    measured.rows.clear()
    pn.Trainer(net, pn.MSELoss(), pn.SGD(0.1)).fit(x, x, validation_data=(x, x), batch_size=500, progress=False)
    assert max(measured.rows) == 1000
