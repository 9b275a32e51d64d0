"""What is timed is the step that ``fit`` takes."""

from dataclasses import replace

import numpy as np
import pytest

import portanet as pn
from bench.recorded import training_step

pytest.importorskip("array_api_strict", reason="its computations are what is recorded")
tape = pytest.importorskip("tape")


def test_a_recorded_step_is_the_step():
    recorded, losses = [], []
    for capture in (tape.capture, None):
        backend = replace(pn.get_backend("strict"), name="recording", capture=capture and watched(capture, recorded))
        trainer = pn.Trainer(pn.Linear(4, 2), pn.MSELoss(), pn.SGD(0.1), device=backend)
        x, target = (trainer.net.asarray(np.ones((8, n))) for n in (4, 2))
        step = training_step(trainer, x, target)
        taken = 0 if capture else 2  # what is recorded was warmed up
        losses.append([float(step()) for _ in range(taken + 3)][taken:])
    assert len(recorded) == 1
    assert losses[0] == losses[1]


def watched(capture, notes):
    return lambda step: notes.append(step) or capture(step)
