"""The command-line programs where the standard output is ASCII only, closed, full, or a pipe that nobody reads."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portanet.console import run_command, to_encoding

ROOT = Path(__file__).parents[1]
SUITE = str(next((ROOT / "bench" / "results").glob("suite-*.json")))
COMMANDS = [
    ["portanet", "info"],
    ["portanet", "--help"],
    ["experiments", "list"],
    ["experiments", "list", "--json"],
    ["experiments", "run", "000-linear-1", "000-toy-bce", "--quick", "--seeds", "2", "--force", "--out", "results"],
    ["bench", "--help"],
    ["bench", "compare", SUITE],
]
UNWRITABLE = {
    "closed": ('exec "$@" >&-', "it is closed"),
    "full": ('exec "$@" >/dev/full', "No space left on device"),
    "pipe": ('exec "$@" | true', ""),
}


def run(command: list[str], folder: Path, shell: str = 'exec "$@"') -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    words = ["sh", "-c", shell, "sh", sys.executable, "-m", *command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_ascii_output_gets_ascii(command: list[str], tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout.isascii()
    assert "?" not in done.stdout
    assert ("run" not in command) or " +- " in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(("shell", "sentence"), UNWRITABLE.values(), ids=UNWRITABLE)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_output_that_cannot_be_written_is_one_sentence(
    command: list[str], shell: str, sentence: str, tmp_path: Path
) -> None:
    done = run(command, tmp_path, shell)
    said = [line for line in done.stderr.splitlines() if not line.startswith("[")]  # without the experiments' progress
    assert said == ([f"{command[0]}: cannot write to the standard output: {sentence}"] if sentence else [])
    if sentence:  # of a pipeline, the shell returns the code of the last command
        assert done.returncode == 1
    if "run" in command:  # the experiments ran all the same
        assert len(list(tmp_path.glob("results/*/seed-*.json"))) == 4


def test_a_usage_error_is_said_alone(tmp_path: Path) -> None:
    done = run(["experiments", "run", "nothing"], tmp_path, UNWRITABLE["closed"][0])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown experiment 'nothing'" in done.stderr


def test_a_stream_that_the_program_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert run_command("portanet", lambda: print("text") or 0) == 1
    assert "cannot write to the standard output: I/O operation on closed file" in capsys.readouterr().err
    assert sys.stdout is closed


def test_the_exit_code_of_the_command_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("portanet", lambda: print("± text") or 3) == 3
    assert capsys.readouterr().out == "± text\n"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("0.5 ± 0.1", "ascii", "0.5 +- 0.1"),
        ("≤ ≥ → 2²", "ascii", "<= >= -> 22"),
        ("42.0 µs", "ascii", "42.0 us"),
        ("naïve 图", "ascii", "naive ?"),
        ("± ≤", "latin-1", "± <="),
        ("± ≤", "utf-8", "± ≤"),
    ],
)
def test_text_of_an_encoding(text: str, encoding: str, expected: str) -> None:
    assert to_encoding(text, encoding) == expected
