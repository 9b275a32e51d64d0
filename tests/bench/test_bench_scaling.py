"""The command ``scaling``, its tables, and what it predicts for clusters."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import prediction, scaling
from bench.__main__ import main
from bench.prediction import CPU_LINK, Link, exchange_seconds, gain


def case(step: float) -> dict[str, float]:
    return {"step": step, "waiting": 0.0, "exchange": 0.001, "bytes": 4e6}


FOUND = {"003-lenet": {"one core": case(0.08), "two threads": case(0.04), "weak": case(0.1), "strong": case(0.05)}}


def test_the_table_compares_examples_a_second() -> None:
    ((name, *_, ratio, share),) = scaling.table_rows(FOUND)
    row = dict(zip(scaling.HEADER[1:], scaling.table_rows(FOUND)[0][1:], strict=True))
    assert name == "003-lenet"
    assert (row["weak"], ratio, share) == ("100 ms", "1.25", "1.0%")
    assert [
        cell for header, cell in zip(scaling.HEADER, scaling.table_rows(FOUND)[0], strict=True) if header == "gain"
    ] == [
        "1.60",
        "1.60",
    ]


def test_without_latency_the_exchange_approaches_twice_the_bytes() -> None:
    link = Link(bandwidth=1e9, latency=0.0)
    assert exchange_seconds(1e9, 2, link) == pytest.approx(1.0)
    assert exchange_seconds(1e9, 10**6, link) == pytest.approx(2.0, rel=1e-5)


def test_one_node_gains_nothing_and_more_nodes_gain_more() -> None:
    assert gain(0.01, 1e6, 1, CPU_LINK) == 1.0
    gains = [gain(0.01, 1e6, n, CPU_LINK) for n in (1, 2, 4, 8)]
    assert gains == sorted(gains)
    assert gains[-1] < 8


def test_the_shortest_step_keeps_the_efficiency() -> None:
    ((name, *cells),) = prediction.gpu_rows(FOUND)
    assert name == "003-lenet"
    units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
    for cell, n in zip(cells, prediction.GPUS, strict=True):
        number, unit = cell.split()
        kept = gain(float(number) * units[unit], 4e6, n, prediction.GPU_LINK) / n
        assert kept == pytest.approx(prediction.EFFICIENCY, abs=0.005)  # the cell has three digits


def test_the_picture_says_that_it_is_a_prediction() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert [axes.get_title()[:23] for axes in prediction.figure(FOUND).axes] == ["predicted, not measured"] * 2


def test_the_command_writes_the_results_and_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    times = {"one core": 0.08, "two threads": 0.04, "weak": 0.1, "strong": 0.05}
    labels = {given: label for label, given in scaling.CASES.items()}
    monkeypatch.setattr(scaling, "run_case", lambda name, given, seconds: case(times[labels[given]]))
    out = tmp_path / "scaling.json"
    assert main(["scaling", "--networks", "003-lenet", "--rounds", "1", "--out", str(out)]) == 0
    written: dict[str, Any] = json.loads(out.read_text())
    assert written["networks"] == FOUND
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert "predicted gains" in capsys.readouterr().out


def test_a_program_is_found_in_this_environment_or_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "launch-ranks"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scaling.find_program("launch-ranks") == str(program)
    assert scaling.find_program("there-is-no-such-program") is None
