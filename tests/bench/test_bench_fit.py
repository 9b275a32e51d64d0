"""``python -m bench fit``."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import portanet.engine.graph
from bench import fit, results
from bench.__main__ import main
from bench.networks import NETWORKS
from bench.report import fit_parts

SHORT = ("--steps", "3", "--epochs", "2")


def test_fit_prints_and_writes_steps_a_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fit.json"
    assert main(["fit", "--networks", "000-toy", *SHORT, "--out", str(out)]) == 0
    written = results.read(out, "fit")
    (rate,) = written["networks"]["000-toy"].values()
    assert rate > 1
    assert f"{rate:,.0f}" in capsys.readouterr().out
    assert "| 000-toy | float32 | 1 |" in fit_parts(written)[-1]


def test_a_complete_run_goes_to_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(fit, "steps_per_second", lambda *_: 10.0)
    assert main(["fit"]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("fit-")
    assert list(results.read(path, "fit")["networks"]) == list(fit.DEFAULT)


def test_on_a_gpu_each_precision_and_number_of_steps_is_measured() -> None:
    options = argparse.Namespace(device="cuda", precision=[], steps_per_graph=[1, 8])
    assert fit.variants(options) == [("float32", 1), ("float32", 8), ("tf32", 1), ("tf32", 8)]


def test_steps_are_recorded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    class Trainer(portanet.Trainer):
        def fit(self, *args: Any, **settings: Any) -> Any:
            found.append(portanet.engine.graph.STEPS_PER_GRAPH)
            return super().fit(*args, **settings)

    monkeypatch.setattr(fit, "Trainer", Trainer)
    before = portanet.engine.graph.STEPS_PER_GRAPH
    options = argparse.Namespace(device="cpu", steps=2, epochs=1)
    assert fit.steps_per_second(replace(NETWORKS["000-toy"], batch_size=3), options, "tf32", 7) > 0
    assert found == [7]
    assert before == portanet.engine.graph.STEPS_PER_GRAPH


def test_a_gpu_that_is_missing_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        portanet.get_backend("cuda")
    except portanet.BackendUnavailable:
        assert main(["fit", "--device", "cuda"]) == 1
        assert capsys.readouterr().err.startswith("bench: --device cuda: ")
    else:
        pytest.skip("there is a GPU")
