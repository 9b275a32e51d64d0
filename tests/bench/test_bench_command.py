"""``python -m bench``: its output, and one-sentence errors with an exit code."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from bench import command, compare, report, results
from bench.__main__ import main
from bench.machine import cores
from bench.networks import NETWORKS, Network

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


def entry(test: str, device: str, median: float, **params: int | str) -> dict[str, Any]:
    return {"test": test, "device": device, "params": params, "median": median, "iqr": 0.0, "rounds": 5}


SUITE: dict[str, Any] = {
    "kind": "suite",
    **MEASURED,
    "benchmarks": [
        *(entry("network_step", device, time, network="003-mlp") for device, time in (("cpu", 0.002), ("cuda", 0.001))),
        *(entry("dense_step", "cpu", 1e-5 * batch, width=64, batch=batch) for batch in (1, 16, 128)),
        *(entry("dense_step", "cuda", 1e-4, width=64, batch=batch) for batch in (1, 16, 128)),
    ],
}
PEERS: dict[str, Any] = {
    "kind": "peers",
    **MEASURED,
    "rounds": 3,
    "seconds": 0.1,
    "networks": {
        "003-mlp": {
            "tasks": {
                "step": {
                    "portanet": {"seconds": 0.0008},
                    "gemm-bound": {"seconds": 0.0004, "ratio": 2.0, "quartiles": [2.0, 2.0]},
                    "torch-fused": {"seconds": 0.001, "ratio": 0.8, "quartiles": [0.79, 0.82]},
                    "sklearn": {"seconds": 0.002, "ratio": 0.4, "quartiles": [0.4, 0.4]},
                },
                "inference-1": {
                    "portanet": {"seconds": 1e-5},
                    "torch-eager": {"seconds": 2e-5, "ratio": 0.5, "quartiles": [0.5, 0.5]},
                },
            },
            "memory": {"portanet": 50 * 2**20, "torch-fused": 300 * 2**20, "gemm-bound": 2**20},
            "absent": {"step": {"jax": "jax is not installed"}, "inference-1": {}},
        }
    },
    "costs": {"portanet": {"import": 0.1, "first_step": 0.2, "installed": 2**26, "requires": ["numpy"]}},
}


def only(*devices: str) -> dict[str, Any]:
    """Return the suite of some devices."""
    return {**SUITE, "benchmarks": [entry for entry in SUITE["benchmarks"] if entry["device"] in devices]}


def written(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def error_of(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that must fail, and return its only line on stderr."""
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("bench: ")
    return captured.err


def row(text: str, first: str) -> list[str]:
    """Return the cells of the first table row that starts with a cell."""
    return next(
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith(f"| {first} |")
    )


def test_peers_prints_and_writes_the_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "peers.json"
    arguments = (
        "--networks",
        "000-toy",
        "--competitors",
        "gemm-bound",
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
    assert " % " in shown
    written = results.read(out, "peers")
    times = written["networks"]["000-toy"]["tasks"]["step"]
    assert times.keys() == {"portanet", "gemm-bound"}
    assert f"{times['gemm-bound']['ratio']:.3f}" in shown
    assert written["networks"]["000-toy"]["memory"]["portanet"] > 2**20
    assert written["threads"] == 1
    assert written["asked"] == ["000-toy"]
    assert written["costs"] == {}


def test_interrupted_run_keeps_finished_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_network(network: Network, *_: Any) -> dict[str, Any]:
        if network.id == "003-mlp":
            raise KeyboardInterrupt
        return PEERS["networks"]["003-mlp"]

    monkeypatch.setattr("bench.peers.command.run_network", run_network)
    out = tmp_path / "peers-some-cpu.json"
    selected = ["peers", "--step", "--inference", "--networks", "003-logistic", "003-mlp", "--out", str(out)]
    assert main(selected) == 130
    assert f"interrupted; 1 of 2 networks are in {out}\n" in capsys.readouterr().err
    assert list(results.read(out, "peers")["networks"]) == ["003-logistic"]
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "RESULTS.md")]) == 0
    assert "The run was interrupted before 003-mlp." in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert main(selected[:-2]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err


def test_progress_shows_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 60.0, 200.0])
    monkeypatch.setattr("bench.results.perf_counter", lambda: next(clock))
    assert list(results.Record(None, {}, ["a", "b", "c"]).remaining()) == [
        ("a", "network 1 of 3"),
        ("b", "network 2 of 3, about 2 min left"),
        ("c", "network 3 of 3, about 2 min left"),
    ]


def test_progress_in_a_log_shows_milestones_only(capsys: pytest.CaptureFixture[str]) -> None:
    command.print_progress("network 1 of 3", "000-toy", milestone=True)
    command.print_progress("network 1 of 3", "preparing torch-fused")
    assert capsys.readouterr().err == "network 1 of 3: 000-toy\n"


@pytest.mark.parametrize("command", [[], ["peers"], ["mechanisms"], ["compare"], ["report"]], ids=" ".join)
def test_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: python -m bench" in capsys.readouterr().out


def test_without_a_command_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "peers" in capsys.readouterr().err


def test_unknown_names_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown network 'lenet'" in error_of(capsys, 2, "peers", "--networks", "lenet")
    assert "unknown competitor 'tf'; choose from portanet" in error_of(capsys, 2, "peers", "--competitors", "tf")


@pytest.mark.parametrize(("option", "value"), [("--rounds", "0"), ("--seconds", "-1"), ("--seconds", "x")])
def test_invalid_numbers_are_errors(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["peers", option, value])
    assert f"got '{value}'" in capsys.readouterr().err


def test_more_threads_than_cores_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, 2, "peers", "--threads", str(cores() + 1))
    assert f"--threads {cores() + 1} is too many: this process may use {cores()} core" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["peers", "--step", "--networks", "000-toy", "--out"],
        ["compare", "suite-some-cpu.json", "--picture"],
        ["report", "--results", ".", "--out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_unwritable_output_is_an_error_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "suite-some-cpu.json", SUITE)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert "cannot write folder.png: it is a folder" in error_of(capsys, 1, *arguments, "folder.png")
    assert "is not writable (Not a directory)" in error_of(capsys, 1, *arguments, "file/x.png")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_one_sentence_error(tmp_path: Path) -> None:
    suite = written(tmp_path / "suite.json", SUITE)
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "bench", "compare", suite]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "bench: cannot write to the standard output: No space left on device\n"


def test_committed_report_matches_the_results() -> None:
    assert report.report(results.FOLDER, report.REPORT) == report.REPORT.read_text(encoding="utf-8")


def test_readme_figures_match_the_results() -> None:
    found = report.REPORT.read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ratios = sorted(row(found, id)[4] for id, network in NETWORKS.items() if network.goal and f"| {id} |" in found)
    n_faster = sum(float(ratio) < 1 for ratio in ratios)
    assert f"It is faster on {n_faster} of {len(ratios)} networks" in readme
    assert f"a training step takes {ratios[0]} to {ratios[-1]} of the time of PyTorch's fastest variant" in readme
    assert f"and {row(found, report.MEAN)[4]} on the geometric mean of the" in readme


def test_report_compares_with_every_goal(tmp_path: Path) -> None:
    written(tmp_path / "peers-some-cpu.json", PEERS)
    written(tmp_path / "suite-some-cpu.json", SUITE)
    (tmp_path / "notes.md").write_text("A note by hand.\n")
    (tmp_path / "compare.png").touch()
    out = tmp_path / "RESULTS.md"
    assert main(["report", "--results", str(tmp_path), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    step = ["003-mlp", "800 µs", "1.00 ms", "torch-fused", "0.800", "0.65", "NOT met", "0.790 to 0.820", "50 %", "40 %"]
    assert row(text, "003-mlp") == step
    assert "Goals of single networks that are met: 0 of 1. Networks on which PortaNet is slower: none." in text
    assert row(text, report.MEAN)[4:7] == [
        "0.800",
        "",
        "",
    ]  # one of fourteen networks: no goal
    assert "| 003-mlp | MLPClassifier | 800 µs | 2.00 ms | 0.400 | 0.25 | NOT met |" in text
    assert "| 003-mlp | 50.0 MiB | 300 MiB |  | met |" in text
    assert "- jax: jax is not installed (1 time)" in text
    assert "A note by hand." in text
    assert "Some CPU, 2 usable cores" in text
    assert "![CPU and GPU](compare.png)" in text
    assert "width 64: the GPU is faster from batch size 16" in text


def test_report_without_results_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are no files of results" in error_of(capsys, 2, "report", "--results", str(tmp_path))


def test_compare_shows_the_speed_up_and_the_crossover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", written(tmp_path / "suite.json", SUITE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "cpu", "cuda", "CPU", "/", "GPU"]
    assert lines[1].split() == ["network", "step", "003-mlp", "2.00", "ms", "1.00", "ms", "2.00"]
    assert lines[-1] == "dense network of width 64: the GPU is faster from batch size 16"


def test_compare_accepts_one_file_per_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [written(tmp_path / f"{device}.json", only(device)) for device in ("cuda", "cpu")]
    assert main(["compare", *files]) == 0
    assert "from batch size 16" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compare_of_one_device_has_no_crossover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    assert main(["compare", written(tmp_path / "suite.json", only(device))]) == 0
    assert "faster" not in capsys.readouterr().out


def test_crossover_requires_a_faster_gpu_at_all_larger_batches() -> None:
    times = {1: {"cpu": 2.0, "cuda": 1.0}, 16: {"cpu": 1.0, "cuda": 2.0}}
    assert compare.crossover(times) is None
    assert compare.crossover({1: {"cpu": 2.0}}) is None
    assert compare.crossover({1: {"cpu": 2.0, "cuda": 1.0}, 16: {"cpu": 3.0}}) == 1  # 16 was not timed on the GPU


@pytest.mark.parametrize("devices", [("cpu",), ("cuda",), ("cpu", "cuda")], ids="-".join)
def test_picture_is_not_blank(tmp_path: Path, devices: tuple[str, ...]) -> None:
    image = pytest.importorskip("matplotlib.image", reason="tests the picture")
    suite, picture = only(*devices), tmp_path / "compare.png"
    assert main(["compare", written(tmp_path / "suite.json", suite), "--picture", str(picture)]) == 0
    pixels = image.imread(picture)[..., :3]
    left, right = pixels[:, : pixels.shape[1] // 2], pixels[:, pixels.shape[1] // 2 :]
    coloured = [(half.max(axis=-1) - half.min(axis=-1) > 0.3).mean() for half in (left, right)]
    assert coloured[0] > (0.02 if len(devices) == 2 else 1e-4)  # bars, or points
    assert coloured[1] > 0.001  # curves


def test_picture_mentions_the_gpu_only_if_both_devices_were_timed() -> None:
    pytest.importorskip("matplotlib", reason="tests the picture")
    for devices, mentioned in ((("cpu",), False), (("cuda",), False), (("cpu", "cuda"), True)):
        axes = compare.figure(compare.gather([only(*devices)])).axes
        assert any("the GPU is faster" in a.get_title() + a.get_xlabel() for a in axes) is mentioned


def test_picture_format_is_that_of_the_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="tests the picture")
    suite = written(tmp_path / "suite.json", SUITE)
    for name, begin in (("x.pdf", b"%PDF"), ("x.svg", b"<?xml"), ("x.PNG", b"\x89PNG")):
        assert main(["compare", suite, "--picture", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(begin)
    capsys.readouterr()
    assert "ends in .png, .pdf, .svg" in error_of(capsys, 2, "compare", suite, "--picture", "x.docx")
    only_losses = {**SUITE, "benchmarks": [entry("loss", "cpu", 1e-5, loss="MSELoss", size=10)]}
    losses = written(tmp_path / "losses.json", only_losses)
    assert "nothing to draw" in error_of(capsys, 2, "compare", losses, "--picture", str(tmp_path / "y.png"))


def test_files_of_another_kind_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in error_of(capsys, 2, "compare", str(tmp_path / "none.json"))
    assert "is not a file of kind 'suite'" in error_of(capsys, 2, "compare", written(tmp_path / "p.json", PEERS))
    (tmp_path / "x.json").write_text("{")
    assert "is not a JSON file" in error_of(capsys, 2, "compare", str(tmp_path / "x.json"))
    none = written(tmp_path / "none.json", {**SUITE, "benchmarks": []})
    assert f"there are no times in {none}" in error_of(capsys, 2, "compare", none, "--picture", "x.png")


@pytest.mark.parametrize(
    ("content", "mismatch"),
    [
        ({"kind": "suite"}, "lacks 'machine', 'threads', 'load', 'versions', 'date', 'benchmarks'"),
        ({**SUITE, "benchmarks": [{}]}, "benchmarks.0 lacks 'test', 'device', 'params', 'median'"),
        ({**SUITE, "benchmarks": {}}, "benchmarks is {}"),
        ({**SUITE, "threads": "two"}, "threads is 'two'"),
    ],
)
def test_incomplete_suite_files_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any], mismatch: str
) -> None:
    path = written(tmp_path / "suite-x.json", content)
    for arguments in (["compare", path], ["report", "--results", str(tmp_path), "--out", str(tmp_path / "x.md")]):
        message = error_of(capsys, 2, *arguments)
        assert f"{path} is not a valid file of kind 'suite'" in message
        assert mismatch in message


@pytest.mark.parametrize(
    ("without", "mismatch"),
    [
        (["networks"], "the file lacks 'networks'"),
        (["machine", "gpu"], "machine lacks 'gpu'"),
        (["networks", "003-mlp", "absent"], "networks.003-mlp lacks 'absent'"),
        (["networks", "003-mlp", "tasks", "step", "portanet"], "networks.003-mlp.tasks.step lacks 'portanet'"),
        (["networks", "003-mlp", "tasks", "step", "sklearn", "ratio"], "tasks.step.sklearn lacks 'ratio'"),
    ],
)
def test_incomplete_peers_files_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without: list[str], mismatch: str
) -> None:
    content = inner = deepcopy(PEERS)
    *folders, last = without
    for key in folders:
        inner = inner[key]
    del inner[last]
    path = written(tmp_path / "peers-x.json", content)
    message = error_of(capsys, 2, "report", "--results", str(tmp_path), "--out", str(tmp_path / "x.md"))
    assert message.startswith(f"bench: {path} is not a valid file of kind 'peers'")
    assert mismatch in message


def test_notes_in_another_encoding_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "peers-x.json", PEERS)
    (tmp_path / "notes.md").write_bytes("größer".encode("latin-1"))
    message = error_of(capsys, 2, "report", "--results", str(tmp_path), "--out", str(tmp_path / "x.md"))
    assert f"{tmp_path / 'notes.md'} is not UTF-8 text" in message


def test_suite_writes_a_small_file(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark", reason="tests the suite")
    out = tmp_path / "suite.json"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}  # disables timing
    command = ["-m", "pytest", "bench", "-q", "-p", "no:cacheprovider", "-k", "loss and MSELoss", "--device", "cpu"]
    short = ["--benchmark-max-time", "0.001", "--benchmark-min-rounds", "2", "--benchmark-json", str(out)]
    subprocess.run([sys.executable, *command, *short], cwd=ROOT, check=True, capture_output=True, env=env)
    entries = results.read(out, "suite")["benchmarks"]
    assert [entry["params"] for entry in entries] == [{"loss": "MSELoss", "size": size} for size in (10, 1000)]
    assert all(entry.keys() == {"test", "device", "params", "median", "iqr", "rounds"} for entry in entries)
    assert all(2 <= entry["rounds"] < 1000 for entry in entries)  # the default of 0.3 s gives about ten thousand


DAMAGED: dict[str, bytes] = {
    "100,000 brackets": b"[" * 100_000,
    "no UTF-8": b'{"kind": "\xff"}',
    "NUL bytes": bytes(100),
    "an empty file": b"",
    "a name twice": b'{"kind": "suite", "kind": "suite"}',
    "an integer of 10,000 digits": b'{"kind": "suite", "date": ' + b"9" * 10_000 + b"}",
    "NaN": b"NaN",
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("name", ["suite-x.json", "peers-x.json", "busy-x.json", "mechanisms-x.json"])
def test_a_damaged_file_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, kind: str
) -> None:
    path, out = tmp_path / name, tmp_path / "RESULTS.md"
    path.write_bytes(DAMAGED[kind])
    assert str(path) in error_of(capsys, 2, "report", "--results", str(tmp_path), "--out", str(out))
    assert str(path) in error_of(capsys, 2, "compare", str(path))


def odd(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with one value replaced."""
    content = deepcopy(content)
    *parts, last = path.split("/")
    item: Any = content
    for part in parts:
        item = item[int(part) if isinstance(item, list) else part]
    item[last] = value
    return content


STEP = "networks/003-mlp/tasks/step/torch-fused"


@pytest.mark.parametrize(
    ("content", "path", "value"),
    [
        (SUITE, "benchmarks/0/median", 0),
        (SUITE, "benchmarks/0/median", float("inf")),
        (SUITE, "benchmarks/0/params", {}),
        (SUITE, "benchmarks/2/params", {"width": "wide", "batch": 1}),
        (SUITE, "benchmarks/0/device", "\x1b[2J"),
        (SUITE, "threads", True),
        (PEERS, "seconds", 10**400),
        (PEERS, f"{STEP}/ratio", -1.0),
        (PEERS, f"{STEP}/quartiles", [1.0]),
        (PEERS, f"{STEP}/quartiles", [1.0, float("nan")]),
        (PEERS, "networks/003-mlp/memory/portanet", "much"),
        (PEERS, "date", "\ud800"),
    ],
    ids=str,
)
def test_odd_values_are_named_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: dict[str, Any], path: str, value: Any
) -> None:
    file = tmp_path / f"{content['kind']}-x.json"
    file.write_text(json.dumps(odd(content, path, value)), encoding="utf-8")
    message = error_of(capsys, 2, "report", "--results", str(tmp_path), "--out", str(tmp_path / "RESULTS.md"))
    assert str(file) in message
    assert not (tmp_path / "RESULTS.md").exists()


def test_the_report_shows_memory_and_precision_of_a_gpu() -> None:
    file = deepcopy(PEERS)
    assert "on the GPU" not in "".join(report.peers_parts(file))
    file["machine"]["gpu"], file["precision"] = "CuPy 14.2.0 on a GPU", "tf32"
    file["networks"]["003-mlp"]["gpu_memory"] = {"portanet": 600 * 2**20, "torch-graph": 900 * 2**20}
    page = "\n".join(report.peers_parts(file))
    assert "Products and convolutions of all libraries are in tf32." in page
    assert "### Memory on the GPU after the first step" in page
    assert "| 003-mlp | 600 MiB | 900 MiB |" in page


def test_a_race_in_tf32_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr("bench.peers.command.time_networks", lambda *_: None)
    monkeypatch.setattr("bench.peers.command.all_costs", lambda *_: {})
    assert main(["peers", "--precision", "tf32"]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("peers-tf32-")
    assert results.read(path, "peers")["precision"] == "tf32"
