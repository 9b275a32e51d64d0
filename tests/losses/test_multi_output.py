"""One loss of several outputs: the weighted sum of their losses."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.config import from_json, to_json
from portanet.testing import check_gradients

rng = np.random.default_rng(0)
COPY, LABEL = rng.normal(size=(4, 3)), rng.normal(size=(4, 5))
PREDICTION = {"copy": COPY, "label": LABEL}
TARGET = {"label": np.asarray([1, 0, 4, 4]), "copy": rng.normal(size=(4, 3))}


def by_name(reduction: Any = "mean") -> pn.MultiOutputLoss:
    losses = {"copy": pn.MSELoss(reduction=reduction), "label": pn.CrossEntropyLoss(reduction=reduction)}
    return pn.MultiOutputLoss(losses, weights={"label": 0.25})


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_are_central_differences(backend: Backend, reduction: str) -> None:
    check_gradients(by_name(reduction), PREDICTION, TARGET, device=backend)
    of_tuple = pn.MultiOutputLoss([pn.MSELoss(), pn.CrossEntropyLoss()], weights=(2, 3))
    check_gradients(of_tuple, (COPY, LABEL), (TARGET["copy"], TARGET["label"]), device=backend)


def test_the_value_is_the_weighted_sum_of_the_losses() -> None:
    parts = pn.MSELoss()(COPY, TARGET["copy"]), pn.CrossEntropyLoss()(LABEL, TARGET["label"])
    np.testing.assert_allclose(by_name()(PREDICTION, TARGET), parts[0] + 0.25 * parts[1], rtol=1e-12)
    weights = np.asarray([1.0, 0, 2, 1])
    parts = pn.MSELoss()(COPY, TARGET["copy"], weights), pn.CrossEntropyLoss()(LABEL, TARGET["label"], weights)
    value, _ = by_name().vjp(PREDICTION, TARGET, weights)
    np.testing.assert_allclose(value, parts[0] + 0.25 * parts[1], rtol=1e-12)


def test_it_is_described_copied_and_built_again() -> None:
    loss = by_name()
    for again in (from_json(to_json(loss)), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(again) == repr(loss)
        assert again(PREDICTION, TARGET) == loss(PREDICTION, TARGET)


@pytest.mark.parametrize(
    ("losses", "weights", "message"),
    [
        ({}, None, "losses must be a dict or list of Loss objects"),
        (pn.MSELoss(), None, "losses must be a dict or list of Loss objects"),
        ({"a": "mse"}, None, "losses must be a dict or list of Loss objects"),
        ({"a": pn.MSELoss(), "b": pn.MSELoss(reduction="sum")}, None, "losses must all have one reduction"),
        ({"a": pn.MSELoss(reduction="none")}, None, "reduction must be 'mean' or 'sum'"),
        ({"a": pn.MSELoss()}, {"b": 1}, "weights must fit losses"),
        ({"a": pn.MSELoss()}, [1], "weights must fit losses"),
        ([pn.MSELoss()], [1, 2], "weights must fit losses"),
        ([pn.MSELoss(), pn.MSELoss()], [1], "weights must fit losses"),
        ({"a": pn.MSELoss()}, {"a": -1}, r"weights\['a'\] must be a number"),
        ({"a": pn.MSELoss()}, 2, "weights must be a dict or list of numbers"),
    ],
)
def test_unfit_losses_and_weights_are_refused(losses: Any, weights: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        pn.MultiOutputLoss(losses, weights=weights)


def test_what_was_given_cannot_be_changed_silently() -> None:
    for name, value in (("losses", {}), ("weights", {"label": 1}), ("reduction", "sum")):
        with pytest.raises(AttributeError, match="make a new MultiOutputLoss"):
            setattr(by_name(), name, value)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (COPY, TARGET, "prediction must be a dict with the keys copy, label"),
        (PREDICTION, {"copy": COPY}, "target must be a dict with the keys copy, label, got copy"),
        (PREDICTION, {**TARGET, "label": np.zeros((3,), int)}, r"target must have shape \(4,\)"),
    ],
)
def test_another_structure_is_refused(prediction: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_name()(prediction, target)
    with pytest.raises(ValueError, match="prediction must be a tuple of 1"):
        pn.MultiOutputLoss([pn.MSELoss()])(COPY, COPY)
