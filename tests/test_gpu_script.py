"""The script ``.ci/gpu``: its parts name tests, networks and options that exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench.fit
import bench.peers.command
import bench.report
from bench.__main__ import main
from bench.networks import NETWORKS

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")


def script(*arguments: str, **variables: str) -> str:
    """Return what the script prints, without the last line break."""
    environment = {**os.environ, "PYTHON": "python", **variables}
    command = ["bash", str(ROOT / ".ci/gpu"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    out = tmp_path_factory.mktemp("out")
    lines = script("--dry-run", OUT=str(out)).splitlines()
    assert all(line.startswith("+ ") for line in lines)
    return [shlex.split(line[2:]) for line in lines]


def test_each_part_has_a_description_and_a_command(tmp_path: Path) -> None:
    parts = [line.split(maxsplit=1) for line in script("--list", OUT=str(tmp_path)).splitlines()]
    assert len(parts) > 10
    for name, description in parts:
        assert description
        assert script("--dry-run", name, OUT=str(tmp_path)).startswith("+ ")


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        script("--dry-run", "nothing", OUT=str(tmp_path))
    assert "no part is called nothing" in caught.value.stderr


def test_without_a_gpu_nothing_runs(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        script("first", OUT=str(tmp_path), PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "nvidia-smi finds no GPU here" in caught.value.stderr


def test_the_tests_and_benchmarks_exist(commands: list[list[str]]) -> None:
    paths = [word for command in commands for word in command if re.match(r"(tests|bench)(/|$)", word)]
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists() and path != "bench"] == []


def test_the_options_of_the_benchmarks_are_known(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []
    for module in (bench.fit, bench.peers.command, bench.report):
        monkeypatch.setattr(module, "run", lambda options: ran.append(options.device if "device" in options else ""))
    calls = [command[3:] for command in commands if command[1:3] == ["-m", "bench"]]
    for arguments in calls:
        assert main(arguments) == 0
    assert len(ran) == len(calls) > 8
    assert set(ran) == {"cuda", ""}


def test_the_races_are_of_all_networks_with_a_goal(commands: list[list[str]]) -> None:
    raced: list[str] = []
    for command in commands:
        if "peers" in command and "float32" in command:
            raced += command[command.index("--networks") + 1 : command.index("--out")]
    assert sorted(raced) == sorted(id for id, network in NETWORKS.items() if network.goal is not None)


def test_the_selected_tests_on_a_gpu_exist() -> None:
    """The names behind -k, of which a wrong one would select nothing."""
    listed = [ROOT / "tests/backends" / name for name in ("test_cupy_on_gpu.py", "test_overrides.py")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *map(str, listed)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in ("own_operations", "cublas", "product", "SGD", "persistent", "log_softmax", "bias_grad", "entropy"):
        assert name in found
