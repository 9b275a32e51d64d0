"""``python -m bench``: what it writes, and that it answers every mistake with one sentence and an exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compare
from bench.__main__ import main

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "Some CPU", "cores": 2, "memory_gib": 8.0, "gpu": None, "system": "Linux x86_64"}
MEASURED = {
    "devices": ["cpu"],
    "machine": MACHINE,
    "threads": 2,
    "load": 0.0,
    "versions": {"numpy": "2.0"},
    "date": "d",
}


def entry(test, device, median, **params):
    return {"test": test, "device": device, "params": params, "median": median, "iqr": 0.0, "rounds": 5}


SUITE = {
    "kind": "suite",
    **MEASURED,
    "benchmarks": [
        *(entry("network_step", device, time, network="003-mlp") for device, time in (("cpu", 0.002), ("cuda", 0.001))),
        *(entry("dense_step", "cpu", 1e-5 * batch, width=64, batch=batch) for batch in (1, 16, 128)),
        *(entry("dense_step", "cuda", 1e-4, width=64, batch=batch) for batch in (1, 16, 128)),
    ],
}
PEERS = {
    "kind": "peers",
    **MEASURED,
    "rounds": 3,
    "seconds": 0.1,
    "networks": {
        "003-mlp": {
            "tasks": {
                "step": {
                    "portanet": {"seconds": 0.0008},
                    "floor": {"seconds": 0.0004, "ratio": 2.0, "quartiles": [2.0, 2.0]},
                    "torch-fused": {"seconds": 0.001, "ratio": 0.8, "quartiles": [0.79, 0.82]},
                    "sklearn": {"seconds": 0.002, "ratio": 0.4, "quartiles": [0.4, 0.4]},
                },
                "inference-1": {
                    "portanet": {"seconds": 1e-5},
                    "torch-eager": {"seconds": 2e-5, "ratio": 0.5, "quartiles": [0.5, 0.5]},
                },
            },
            "memory": {"portanet": 50 * 2**20, "torch-fused": 300 * 2**20, "floor": 2**20},
            "absent": {"step": {"jax": "jax is not installed"}, "inference-1": {}},
        }
    },
    "costs": {"portanet": {"import": 0.1, "first_step": 0.2, "installed": 2**26, "requires": ["numpy"]}},
}


def written(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def refused(capsys, code, *arguments):
    """Run what must fail, and return its only line on stderr."""
    assert main(list(arguments)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("bench: ")
    return said.err


def row(report, first):
    """Cells of the first table row that begins with a cell."""
    return next(
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in report.splitlines()
        if line.startswith(f"| {first} |")
    )


def test_peers_prints_and_writes_what_was_selected(tmp_path, capsys):
    out = tmp_path / "peers.json"
    arguments = (
        "--networks",
        "000-toy",
        "--contenders",
        "floor",
        "--rounds",
        "2",
        "--seconds",
        "0.01",
        "--threads",
        "1",
    )
    assert main(["peers", "--step", *arguments, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "000-toy, step" in shown
    assert "% " in shown
    results = json.loads(out.read_text())
    times = results["networks"]["000-toy"]["tasks"]["step"]
    assert times.keys() == {"portanet", "floor"}
    assert times["floor"]["ratio"] > 0
    assert results["networks"]["000-toy"]["memory"]["portanet"] > 2**20
    assert results["threads"] == 1
    assert results["costs"] == {}


@pytest.mark.parametrize("command", [[], ["peers"], ["compare"], ["report"]], ids=" ".join)
def test_help_is_there(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: python -m bench" in capsys.readouterr().out


def test_no_command_is_answered_with_help(capsys):
    assert main([]) == 2
    assert "peers" in capsys.readouterr().err


def test_unknown_names_are_refused(capsys):
    assert "there is no network 'lenet'" in refused(capsys, 2, "peers", "--networks", "lenet")
    assert "there is no contender 'tf': choose among portanet" in refused(capsys, 2, "peers", "--contenders", "tf")


@pytest.mark.parametrize(("option", "value"), [("--rounds", "0"), ("--seconds", "-1"), ("--seconds", "x")])
def test_numbers_are_checked(capsys, option, value):
    with pytest.raises(SystemExit, match="2"):
        main(["peers", option, value])
    assert f"got '{value}'" in capsys.readouterr().err


def test_report_judges_every_goal(tmp_path):
    written(tmp_path / "peers-some-cpu.json", PEERS)
    written(tmp_path / "suite-some-cpu.json", SUITE)
    (tmp_path / "notes.md").write_text("A note by hand.\n")
    (tmp_path / "compare.png").touch()
    out = tmp_path / "RESULTS.md"
    assert main(["report", "--results", str(tmp_path), "--out", str(out)]) == 0
    report = out.read_text(encoding="utf-8")
    step = ["003-mlp", "800 µs", "1.00 ms", "torch-fused", "0.800", "0.75", "NOT met", "0.790 to 0.820", "50%", "40%"]
    assert row(report, "003-mlp") == step
    assert "0 of 1 goals of single networks are met." in report
    assert row(report, "geometric mean of those with a goal")[4:7] == ["0.800", "", ""]  # one of fourteen: not judged
    assert "| 003-mlp | MLPClassifier | 800 µs | 2.00 ms | 0.400 | 0.50 | met |" in report
    assert "| 003-mlp | 50.0 MiB | 300 MiB |  | met |" in report
    assert "- jax: jax is not installed (1 times)" in report
    assert "A note by hand." in report
    assert "Some CPU, 2 usable cores" in report
    assert "![CPU and GPU](compare.png)" in report
    assert "width 64: the GPU is the faster from batch size 16 on" in report


def test_report_without_results_is_refused(tmp_path, capsys):
    assert "there are no files of results" in refused(capsys, 2, "report", "--results", str(tmp_path))


def test_compare_shows_the_gain_and_the_crossover(tmp_path, capsys):
    assert main(["compare", written(tmp_path / "suite.json", SUITE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "cpu", "cuda", "CPU", "/", "GPU"]
    assert lines[1].split() == ["network", "step", "003-mlp", "2.00", "ms", "1.00", "ms", "2.00"]
    assert lines[-1] == "dense network of width 64: the GPU is the faster from batch size 16 on"


def test_compare_takes_a_file_for_each_device(tmp_path, capsys):
    halves = [
        {**SUITE, "benchmarks": [entry for entry in SUITE["benchmarks"] if entry["device"] == device]}
        for device in ("cuda", "cpu")
    ]
    assert main(["compare", *(written(tmp_path / f"{i}.json", half) for i, half in enumerate(halves))]) == 0
    assert "from batch size 16 on" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "1.json")]) == 0
    assert "no file holds times of a GPU" in capsys.readouterr().out


def test_a_gpu_that_falls_behind_again_has_not_crossed_over():
    times = {1: {"cpu": 2.0, "cuda": 1.0}, 16: {"cpu": 1.0, "cuda": 2.0}}
    assert compare.crossover(times) is None
    assert compare.crossover({1: {"cpu": 2.0}}) is None


@pytest.mark.parametrize("devices", [{"cpu"}, {"cpu", "cuda"}], ids=len)
def test_the_picture_is_not_blank(tmp_path, devices):
    image = pytest.importorskip("matplotlib.image", reason="draws the picture")
    suite = {**SUITE, "benchmarks": [entry for entry in SUITE["benchmarks"] if entry["device"] in devices]}
    picture = tmp_path / "compare.png"
    assert main(["compare", written(tmp_path / "suite.json", suite), "--picture", str(picture)]) == 0
    pixels = image.imread(picture)[..., :3]
    left, right = pixels[:, : pixels.shape[1] // 2], pixels[:, pixels.shape[1] // 2 :]
    coloured = [(half.max(axis=-1) - half.min(axis=-1) > 0.3).mean() for half in (left, right)]
    assert coloured[0] > 0.02  # bars
    assert coloured[1] > 0.001  # curves


def test_files_that_hold_something_else_are_refused(tmp_path, capsys):
    assert "cannot read" in refused(capsys, 2, "compare", str(tmp_path / "none.json"))
    assert "holds no results of kind 'suite'" in refused(capsys, 2, "compare", written(tmp_path / "p.json", PEERS))
    (tmp_path / "x.json").write_text("{")
    assert "is no JSON file" in refused(capsys, 2, "compare", str(tmp_path / "x.json"))


def test_the_suite_runs_and_writes_a_small_file(tmp_path):
    pytest.importorskip("pytest_benchmark", reason="runs the suite")
    out = tmp_path / "suite.json"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}  # it stops timings
    command = ["-m", "pytest", "bench", "-q", "-p", "no:cacheprovider", "-k", "loss and MSELoss", "--device", "cpu"]
    subprocess.run(
        [sys.executable, *command, "--benchmark-json", str(out)], cwd=ROOT, check=True, capture_output=True, env=env
    )
    results = json.loads(out.read_text())
    assert results["kind"] == "suite"
    assert [entry["params"] for entry in results["benchmarks"]] == [
        {"loss": "MSELoss", "size": 10},
        {"loss": "MSELoss", "size": 1000},
    ]
    assert all(
        entry.keys() == {"test", "device", "params", "median", "iqr", "rounds"} for entry in results["benchmarks"]
    )
