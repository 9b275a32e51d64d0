"""Ranks that mpiexec starts: the weights of one rank, and the end of all when one fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.scaling import find_program

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
MPIEXEC = find_program("mpiexec")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="mpiexec is not installed")

SCRIPT = Path(__file__).parent / "train_script.py"


def run(
    size: int, folder: Path, *arguments: object, before: tuple[str, ...] = (), options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [
        str(MPIEXEC),
        *options,
        "-n",
        str(size),
        *before,
        sys.executable,
        str(SCRIPT),
        str(folder),
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def results(folder: Path, size: int) -> list[dict[str, np.ndarray]]:
    return [dict(np.load(folder / f"{size}-{rank}.npz")) for rank in range(size)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The results of one rank, in float32."""
    folder = tmp_path_factory.mktemp("alone")
    done = run(1, folder)
    assert done.returncode == 0, done.stderr
    return results(folder, 1)[0]


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_give_the_weights_of_one_rank(tmp_path: Path, alone: dict[str, np.ndarray], size: int) -> None:
    done = run(size, tmp_path)
    assert done.returncode == 0, done.stderr
    ranks = results(tmp_path, size)
    scale = np.abs(alone["weights"]).max()
    for rank in ranks:
        np.testing.assert_allclose(rank["weights"], alone["weights"], rtol=0, atol=1e-6 * scale)
        np.testing.assert_array_equal(rank["weights"], ranks[0]["weights"])
        np.testing.assert_array_equal(rank["losses"], ranks[0]["losses"])
        np.testing.assert_allclose(rank["clusters"], alone["clusters"], rtol=1e-9)
        assert rank["threads"] == max(1, len(os.sched_getaffinity(0)) // size)
        assert rank["ranks_in_a_child"] == 1


def test_ranks_give_the_weights_of_one_rank_in_float64(tmp_path: Path) -> None:
    weights = []
    for size in (1, 2):
        (tmp_path / str(size)).mkdir()
        assert run(size, tmp_path / str(size), "none", 0, 0, 20, "float64").returncode == 0
        weights.append(results(tmp_path / str(size), size)[0]["weights"])
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-12, atol=1e-13)


def test_two_runs_have_the_same_bits(tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert run(2, tmp_path / name).returncode == 0
        runs.append(results(tmp_path / name, 2)[0])
    for key, values in runs[0].items():
        np.testing.assert_array_equal(values, runs[1][key])


@pytest.mark.parametrize("kind", ["error", "before"])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_a_rank_ends_all_with_its_name(tmp_path: Path, rank: int, kind: str) -> None:
    begin = time.monotonic()
    done = run(2, tmp_path, kind, rank, 20)
    assert done.returncode != 0
    assert f"portanet: rank {rank} failed with OSError: the disk is full" in done.stderr
    assert time.monotonic() - begin < 15


def test_training_goes_on_after_an_error_that_all_ranks_catch(tmp_path: Path, alone: dict[str, np.ndarray]) -> None:
    done = run(2, tmp_path, "caught")
    assert done.returncode == 0, done.stderr
    scale = np.abs(alone["weights"]).max()
    np.testing.assert_allclose(results(tmp_path, 2)[1]["weights"], alone["weights"], rtol=0, atol=1e-6 * scale)


def test_ranks_that_call_different_operations_are_refused(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run(2, tmp_path, "mixed", 1, 20, 5.0)
    assert done.returncode != 0
    assert "call the same on all" in done.stderr
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("step", [0, 9])
def test_a_rank_that_hangs_at_the_beginning_or_the_end_of_an_epoch_is_named(tmp_path: Path, step: int) -> None:
    done = run(2, tmp_path, "hang", 0, step, 2.0)
    assert done.returncode != 0
    assert "rank 0 did not answer for 2 s" in done.stderr


def test_a_rank_that_hangs_ends_all_with_its_name(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run(2, tmp_path, "hang", 1, 20, 2.0)
    assert done.returncode != 0
    assert "rank 1 did not answer for 2 s" in done.stderr
    assert "fit(..., resume=path) goes on from a checkpoint" in done.stderr
    assert time.monotonic() - begin < 20


def test_a_rank_that_is_killed_is_named_by_the_others(tmp_path: Path) -> None:
    # MPICH ends the others at once, unless it is told not to, and a shell hides from it that a signal was the cause.
    shell = tmp_path / "shell"
    shell.write_text('"$@"\nexit 0\n')
    begin = time.monotonic()
    done = run(2, tmp_path, "kill", 1, 20, before=("sh", str(shell)), options=("-disable-auto-cleanup",))
    assert "portanet: rank 0: rank 1 ended: find its own message; if it trained, fit(..., resume=path)" in done.stderr
    assert time.monotonic() - begin < 15


def test_mpiexec_ends_all_where_a_rank_is_killed(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert run(2, tmp_path, "kill", 1, 20).returncode != 0
    assert time.monotonic() - begin < 15


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, alone: dict[str, np.ndarray]) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run(2, whole).returncode == 0
    expected = results(whole, 2)[0]
    for i, step in enumerate(np.random.default_rng(0).integers(1, 100, 20)):
        folder = tmp_path / str(i)
        folder.mkdir()
        begin = time.monotonic()
        assert run(2, folder, "kill", i % 2, step).returncode != 0
        assert time.monotonic() - begin < 15
        other = 1 + i % 2  # the same number of ranks, or another one
        assert run(other, folder).returncode == 0
        again = results(folder, other)[0]
        if other == 2:
            np.testing.assert_array_equal(again["weights"], expected["weights"])
        else:
            scale = np.abs(alone["weights"]).max()
            np.testing.assert_allclose(again["weights"], alone["weights"], rtol=0, atol=1e-6 * scale)


def test_a_signal_to_one_rank_ends_all_after_the_same_step(tmp_path: Path) -> None:
    done = run(2, tmp_path, "signal", 1, 20)
    assert done.returncode != 0
    assert "Interrupted: a rank was told to stop; with a ModelCheckpoint, fit(..., resume=True)" in done.stderr
    assert "failed with" not in done.stderr
    files = [path.name for path in tmp_path.iterdir()]
    assert not [name for name in files if name.endswith(".npz")]
    assert len(files) == 1  # the checkpoint of the interrupt, written by rank 0 after the same step
    assert run(2, tmp_path).returncode == 0
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run(2, whole).returncode == 0
    np.testing.assert_array_equal(results(tmp_path, 2)[0]["weights"], results(whole, 2)[0]["weights"])
