import logging
import time
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.training import slowness
from portanet.training.slowness import StepTimes


def test_steps_that_stay_slow_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    times = StepTimes(lambda: 2)
    for seconds in [0.01] * 1000 + [0.2] * 200:
        times.add(seconds)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("portanet", logging.WARNING)
    assert "20 times as long as the fastest one" in record.getMessage()
    assert "2 threads: portanet.set_num_threads or PORTANET_NUM_THREADS" in record.getMessage()


@pytest.mark.parametrize("steps", [[0.01] * 2000, [0.01] * 500 + [1.0] + [0.01] * 500, [0.05] * 100 + [0.2] * 100])
def test_steps_of_usual_lengths_are_not_told(caplog: pytest.LogCaptureFixture, steps: list[float]) -> None:
    times = StepTimes(lambda: 1)
    for seconds in steps:
        times.add(seconds)
    assert not caplog.records


class Waits(pn.Linear):
    """Takes its time in a step from the second epoch on."""

    n = 0

    def vjp(self, x: Any, *, train: bool = True) -> Any:
        self.n += 1
        time.sleep(0.02 if self.n > 40 else 0.0)
        return super().vjp(x, train=train)


def test_fit_tells_of_slow_steps(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(slowness, "WINDOW", 0.1)
    trainer = pn.Trainer(Waits(4, 3), pn.CrossEntropyLoss(), pn.SGD())
    trainer.fit(np.ones((160, 4)), np.zeros(160, int), epochs=2, batch_size=4, progress=False)
    assert len(caplog.records) == 1
