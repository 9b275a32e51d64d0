"""Warnings of ``fit`` about last layers and targets that do not fit the loss."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.training.unfit import UNFIT

X = np.random.default_rng(0).normal(size=(6, 4))
ONE_HOT = np.eye(3)[[0, 1, 2, 0, 1, 2]]


def fit(net: pn.Layer, loss: pn.Loss, y: np.ndarray = ONE_HOT) -> None:
    pn.Trainer(net.initialize(dtype="float64"), loss, pn.SGD(1e-3)).fit(X, y, progress=False)


NESTED = {
    "last": lambda end: pn.Sequential(pn.Linear(4, 3), end),
    "nested": lambda end: pn.Sequential(pn.Linear(4, 3), pn.Sequential(pn.TanH(), pn.Sequential(end))),
    "before dropout": lambda end: pn.Sequential(pn.Linear(4, 3), end, pn.Dropout(), pn.SpatialDropout(0.1)),
    "decoder": lambda end: pn.AutoEncoder(pn.Linear(4, 3), pn.Sequential(pn.TanH(), end)),
}


@pytest.mark.parametrize("build", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize(
    ("end", "loss", "message"),
    [
        (pn.Softmax(), pn.CrossEntropyLoss(), "CrossEntropyLoss takes logits: leave out the last Softmax"),
        (pn.Sigmoid(), pn.CrossEntropyLoss(), "CrossEntropyLoss takes logits: leave out the last Sigmoid"),
        (pn.Sigmoid(), pn.BCEWithLogitsLoss(), "BCEWithLogitsLoss takes logits: leave out the last Sigmoid"),
        (pn.Softmax(), pn.NLLLoss(), "NLLLoss takes log-probabilities: use LogSoftmax"),
        (pn.Softmax(), pn.KLDivLoss(), "KLDivLoss takes log-probabilities: end with LogSoftmax"),
    ],
    ids=repr,
)
def test_a_last_layer_that_does_not_fit_the_loss_is_named_with_the_fix(
    build: Callable[..., Any], end: pn.Layer, loss: pn.Loss, message: str
) -> None:
    with pytest.warns(UserWarning, match=message):
        fit(build(end), loss)


@pytest.mark.parametrize("loss", [loss() for layer, loss in UNFIT if layer is pn.Linear], ids=repr)
def test_a_last_linear_layer_under_a_loss_of_probabilities(loss: pn.Loss) -> None:
    with pytest.warns(UserWarning, match=f"{type(loss).__name__} takes .*probabilities: end with"):
        fit(pn.Linear(4, 3), loss)


@pytest.mark.parametrize(
    ("end", "loss"),
    [
        ([], pn.CrossEntropyLoss()),
        ([pn.ReLU()], pn.CrossEntropyLoss()),
        ([], pn.BCEWithLogitsLoss()),
        ([pn.Sigmoid()], pn.BCELoss()),
        ([pn.Softmax()], pn.BCELoss()),
        ([pn.LogSoftmax()], pn.NLLLoss()),
        ([pn.LogSoftmax()], pn.KLDivLoss()),
        ([pn.Softmax()], pn.MSELoss()),
        ([pn.Sigmoid()], pn.MSELoss()),
        ([pn.Softmax(), pn.Linear(3, 3)], pn.CrossEntropyLoss()),
        ([pn.Sequential()], pn.CrossEntropyLoss()),
    ],
    ids=repr,
)
def test_fitting_pairs_give_no_warning(end: list[Any], loss: pn.Loss) -> None:
    fit(pn.Sequential(pn.Linear(4, 3), *end), loss)  # a warning would be an error


def test_signs_after_a_sigmoid_are_told() -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.Sigmoid())
    with pytest.warns(UserWarning, match="SoftMarginLoss takes logits: leave out the last Sigmoid"):
        fit(net, pn.SoftMarginLoss(), 2 * ONE_HOT - 1)


def test_variances_of_a_softplus_give_no_warning() -> None:
    variances = pn.Sequential(pn.Linear(4, 3), pn.Softplus())
    fit(pn.Parallel(pn.Linear(4, 3), variances), pn.GaussianNLLLoss())


def test_target_rows_that_do_not_sum_to_one_give_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"the rows of y are probabilities.*sums differ from 1 by up to 0\.5"):
        fit(pn.Linear(4, 3), pn.CrossEntropyLoss(), ONE_HOT / 2)
    fit(pn.Linear(4, 3), pn.MSELoss(), ONE_HOT / 2)
    fit(pn.Linear(4, 3), pn.CrossEntropyLoss(), ONE_HOT.argmax(axis=1))


def test_a_warning_points_at_the_call_of_fit() -> None:
    with pytest.warns(UserWarning, match="leave out") as caught:
        fit(pn.Sequential(pn.Linear(4, 3), pn.Softmax()), pn.CrossEntropyLoss())
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("net", "loss", "message"),
    [
        (
            pn.Sequential(pn.Linear(4, 3), pn.LogSoftmax()),
            pn.BCELoss(),
            "predictions reach from -.*: end with Sigmoid",
        ),
        (pn.Sequential(pn.Linear(4, 3), pn.TanH()), pn.BCELoss(), "BCELoss takes probabilities, but predictions reach"),
        (pn.Sequential(pn.Linear(4, 3), pn.Sigmoid()), pn.NLLLoss(), "NLLLoss takes log-probabilities, but"),
        (pn.Sequential(pn.Linear(4, 3), pn.Sigmoid()), pn.KLDivLoss(), "KLDivLoss takes log-probabilities, but"),
        (pn.Linear(4, 6), pn.GaussianNLLLoss(), "GaussianNLLLoss takes variances, but those predicted reach -"),
    ],
    ids=[
        *("BCELoss after LogSoftmax", "BCELoss after TanH", "NLLLoss after Sigmoid", "KLDivLoss after Sigmoid"),
        "GaussianNLLLoss after Linear",
    ],
)
def test_predictions_that_are_no_probabilities_are_told(net: Any, loss: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message), np.errstate(all="ignore"):
        fit(net, loss)


def test_integer_rows_that_do_not_sum_to_one_are_told() -> None:
    with pytest.warns(UserWarning, match="their sums differ from 1 by up to 2"):
        fit(pn.Sequential(pn.Linear(4, 3)), pn.CrossEntropyLoss(), np.ones((6, 3), dtype=int))


TIMES = 1_600_000_000 + np.arange(64)[:, None]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((64, 1)), TIMES, "y holds .* equal in float32, such as 1600000000 and 1600000001: subtract an offset"),
        (np.ones((64, 1)), TIMES.astype("float64"), "y holds different numbers that are equal in float32"),
        (np.hstack([np.ones((64, 1)), 1.0 * TIMES])[:, 1:], np.ones((64, 1)), "x holds different numbers that are"),
        (1e-50 * np.arange(64.0)[:, None], np.ones((64, 1)), "x holds different numbers that are equal in float32"),
    ],
    ids=["integers", "floats", "inputs", "small"],
)
def test_numbers_that_become_equal_in_float32_are_told(backend: Backend, x: Any, y: Any, message: str) -> None:
    net = pn.Linear(1, 1).initialize(device=backend)
    with pytest.warns(UserWarning, match=message) as caught:
        pn.Trainer(net, pn.MSELoss(), pn.SGD(1e-25)).fit(x, y, progress=False)
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "values",
    [TIMES - TIMES[0], np.random.default_rng(0).normal(size=(5000, 1)), 10**9 + 1000 * np.arange(64)[:, None]],
    ids=["without offset", "random", "resolved"],
)
def test_numbers_that_float32_tells_apart_give_no_warning(values: np.ndarray) -> None:
    x = np.ones((len(values), 1))
    pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(1e-25)).fit(x, values, progress=False)


def test_float64_resolves_times() -> None:
    trainer = pn.Trainer(pn.Linear(1, 1).initialize(dtype="float64"), pn.MSELoss(), pn.SGD(1e-25))
    trainer.fit(np.ones((64, 1)), TIMES, progress=False)
    with pytest.warns(UserWarning, match="y holds different numbers that are equal in float64"):
        trainer.fit(np.ones((64, 1)), 2**60 + TIMES, progress=False)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (pn.Normalize(4), np.full((6, 4), 200.0), "Normalize knows no mean, but inputs reach 200: call its adapt"),
        (pn.Normalize(4), np.full((6, 4), 200, dtype="uint8"), "Normalize knows no mean, but inputs reach 200"),
        (pn.Rescale(), np.full((6, 4), 0.5), "inputs reach 0.5, but Rescale takes pixels from 0 to 255: leave it out"),
    ],
    ids=["Normalize", "Normalize of pixels", "Rescale"],
)
def test_inputs_that_are_scaled_twice_or_not_at_all(layer: pn.Layer, x: np.ndarray, message: str) -> None:
    trainer = pn.Trainer(pn.Sequential(layer, pn.Linear(4, 1)), pn.MSELoss(), pn.SGD(1e-9))
    with pytest.warns(UserWarning, match=re.escape(message)):
        trainer.fit(x, np.zeros((6, 1)), progress=False)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (pn.Normalize(4).adapt(np.arange(24.0).reshape(6, 4)), np.full((6, 4), 200.0)),
        (pn.Normalize(4), np.full((6, 4), 1.0)),
        (pn.Rescale(), np.ones((6, 4), dtype="uint8")),
        (pn.Rescale(), np.zeros((6, 4))),
        (pn.Rescale(2.0), np.full((6, 4), 0.5)),
    ],
    ids=["adapted", "small", "dark pixels", "black", "another scale"],
)
def test_inputs_that_may_be_meant_are_taken_in_silence(layer: pn.Layer, x: np.ndarray) -> None:
    trainer = pn.Trainer(pn.Sequential(layer, pn.Linear(4, 1)), pn.MSELoss(), pn.SGD(1e-9))
    trainer.fit(x, np.zeros((6, 1)), progress=False)


def test_an_iterator_that_ends_within_an_epoch_is_reported() -> None:
    trainer = pn.Trainer(pn.Linear(4, 1), pn.MSELoss(), pn.SGD(1e-9))
    with pytest.warns(UserWarning, match="x yields only 3 batches of steps_per_epoch=10") as caught:
        trainer.fit(iter([(np.ones((2, 4)), np.ones((2, 1)))] * 3), steps_per_epoch=10, progress=False)
    assert caught[0].filename == __file__
