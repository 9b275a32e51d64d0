"""Progress is reported wherever stderr can take it, and training never depends on it."""

import io
import sys
from typing import Any

import numpy as np
import pytest

import portanet as pn

X = np.ones((4, 1))


class Unlike(io.StringIO):
    """What a program may put in the place of stderr: less than a stream."""

    isatty = None  # type: ignore[assignment]


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Ascii(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def fit(metrics: Any = ()) -> pn.History:
    return pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1), metrics=metrics).fit(X, X, epochs=2)


@pytest.mark.parametrize("stream", [None, closed(), Full(), object()], ids=["none", "closed", "full", "no stream"])
def test_training_goes_on_without_a_stream(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert len(fit().epochs) == 2


def test_a_stream_without_isatty_gets_a_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Unlike()
    monkeypatch.setattr(sys, "stderr", stream)
    fit()
    assert [line.split()[:2] for line in stream.getvalue().splitlines()] == [["epoch", "1/2"], ["epoch", "2/2"]]


def test_a_metric_whose_name_the_stream_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Ascii())
    assert fit({"précision": pn.mean_squared_error})["précision"]
