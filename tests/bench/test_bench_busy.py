"""``python -m bench peers --busy``."""

import subprocess
from pathlib import Path

import pytest

from bench import report, results
from bench.__main__ import main
from bench.peers import busy


def test_processes_spin_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*args: object, **kwargs: object) -> "subprocess.Popen[bytes]":
        started.append(popen(*args, **kwargs))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    with busy.spinning(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() is not None for process in started)


def test_goals_compare_with_the_fair_share_and_with_one_thread() -> None:
    def row(*ratios: list[float]) -> dict[str, object]:
        return {"busy": {str(k): {"ratios": pair} for k, pair in enumerate(ratios)}}

    assert busy.is_fair(row([3.0, 1.0], [0.5, 1.0]))
    assert not busy.is_fair(row([0.5, 1.0], [3.1, 1.0]))
    assert busy.equals_one_thread(row([1.0, 1.0], [1.09, 1.0]))
    assert not busy.equals_one_thread(row([1.0, 1.0], [1.2, 1.0]))


def test_the_command_measures_writes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "COMPETITORS", ("portanet",))
    out = tmp_path / "busy-some-cpu.json"
    arguments = ["--networks", "000-toy", "--rounds", "1", "--seconds", "0.01", "--out", str(out)]
    assert main(["peers", "--busy", *arguments]) == 0
    file = results.read(out, "busy")
    row = file["networks"]["000-toy"]["competitors"]["portanet"]
    for k in ("1", "3"):
        seconds, ratios = row["busy"][k]["seconds"], row["busy"][k]["ratios"]
        assert ratios == pytest.approx([s / (int(k) + 1) / row["quiet"] for s in seconds], rel=1e-2)
    assert any("000-toy" in part for part in report.busy_parts(file))
