"""The benchmark times the training step of ``fit``."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import portanet as pn
from bench.recorded import training_step

pytest.importorskip("array_api_strict", reason="the test records its operations")
tape = import_module("tests.tape")  # not at the top: it imports array_api_strict
pytestmark = pytest.mark.strict


def test_recorded_step_equals_the_eager_step() -> None:
    recorded: list[Any] = []
    losses = []
    for capture in (tape.capture, None):
        backend = replace(pn.get_backend("strict"), name="recording", capture=capture and logged(capture, recorded))
        trainer = pn.Trainer(pn.Linear(4, 2), pn.MSELoss(), pn.SGD(0.1), device=backend)
        x, target = (trainer.net.asarray(np.ones((8, n))) for n in (4, 2))
        step = training_step(trainer, x, target)
        skipped = 0 if capture else 2  # recording has run warm-up steps
        losses.append([float(step()) for _ in range(skipped + 3)][skipped:])
    assert len(recorded) == 1
    assert losses[0] == losses[1]


def logged(capture: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    def capturing(step: Callable[[], Any], *numbers: int) -> Any:
        calls.append(step)
        return capture(step)

    return capturing
