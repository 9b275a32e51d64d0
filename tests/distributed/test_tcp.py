"""Ranks that are joined by TCP: the weights of one rank, and the end of all when one fails."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.scaling import find_program
from portanet.distributed import RankFailed, find_communicator, n_launched
from portanet.distributed.tcp import ROOT_SECONDS, TCP, _accept, _address, _connect

SCRIPT = Path(__file__).parent / "train_script.py"


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def run(size: int, folder: Path, *arguments: object, **keys: str) -> list[tuple[int, str]]:
    """Start ranks; when one has ended, give the others a while, and return codes and messages."""
    port = str(free_port())
    processes: list[subprocess.Popen[str]] = []
    for rank in range(size):
        variables = {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_PORT": port}
        command = [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)]
        variables["PORTANET_AUTHKEY"] = keys.get(f"rank{rank}", "secret")
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}))
    end = time.monotonic() + 60
    while all(process.poll() is None for process in processes) and time.monotonic() < end:
        time.sleep(0.05)
    found = []
    for process in processes:
        try:
            _, messages = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:  # it hangs, and its launcher would end it
            process.kill()
            _, messages = process.communicate()
        found.append((process.returncode, messages))
    return found


def weights(folder: Path, size: int, rank: int) -> np.ndarray:
    return np.asarray(np.load(folder / f"{size}-{rank}.npz")["weights"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True)
    return weights(folder, 1, 0)


def test_ranks_give_the_weights_of_one_rank(tmp_path: Path, alone: np.ndarray) -> None:
    for code, messages in run(3, tmp_path):
        assert code == 0, messages
    for rank in range(3):
        np.testing.assert_allclose(weights(tmp_path, 3, rank), alone, rtol=0, atol=1e-6 * np.abs(alone).max())
        np.testing.assert_array_equal(weights(tmp_path, 3, rank), weights(tmp_path, 3, 0))
        assert np.load(tmp_path / f"3-{rank}.npz")["threads"] == max(1, len(os.sched_getaffinity(0)) // 3)


def test_torchrun_starts_ranks(tmp_path: Path, alone: np.ndarray) -> None:
    torchrun = find_program("torchrun")
    if torchrun is None:
        pytest.skip("torchrun is not installed: it comes with PyTorch")
    command = [torchrun, "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(weights(tmp_path, 2, 1), alone, rtol=0, atol=1e-6 * np.abs(alone).max())


@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_of_a_rank_ends_all_with_its_name(tmp_path: Path, rank: int) -> None:
    for code, messages in run(3, tmp_path, "error", rank, 20):
        assert code != 0
        assert f"rank {rank} failed with OSError: the disk is full" in messages


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_is_named_by_the_others(tmp_path: Path, rank: int) -> None:
    for other, (code, messages) in enumerate(run(3, tmp_path, "kill", rank, 20)):
        assert code != 0
        if other != rank:
            assert f"rank {rank} ended: find its own message; if it trained, fit(..., resume=path)" in messages


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_is_named_by_the_others(tmp_path: Path, rank: int) -> None:
    for other, (code, messages) in enumerate(run(3, tmp_path, "hang", rank, 20, 2)):
        assert code != 0
        if other != rank:
            assert f"rank {rank} did not answer for 2 s" in messages


def test_ranks_that_call_different_operations_are_refused(tmp_path: Path) -> None:
    for code, messages in run(2, tmp_path, "mixed", 1, 20, 5):
        assert code != 0
        assert "call the same on all" in messages


def test_a_signal_to_one_rank_ends_all_after_the_same_step(tmp_path: Path) -> None:
    (first, messages), (second, others) = run(2, tmp_path, "signal", 1, 20)
    assert first
    assert second
    assert "Interrupted: a rank was told to stop" in messages
    assert not others  # of one error that all ranks raise, one message is enough
    assert len([*tmp_path.iterdir()]) == 1  # the checkpoint


def test_a_rank_with_another_secret_is_refused() -> None:
    address = "127.0.0.1", free_port()
    errors: list[BaseException] = []

    def accept() -> None:
        try:
            _accept(address, b"secret", 2, 2.0)
        except RankFailed as error:
            errors.append(error)

    root = threading.Thread(target=accept)
    root.start()
    with pytest.raises(RuntimeError, match="PORTANET_AUTHKEY of rank 1 is not that of rank 0"):
        _connect(address, b"another", 1, 2, 2.0)
    root.join()
    assert f"rank 1 did not come to 127.0.0.1:{address[1]} within 2 s: start all ranks with" in str(errors[0])


def test_rank_0_that_does_not_listen_is_named() -> None:
    with pytest.raises(RankFailed, match=r"rank 0 did not listen at 127\.0\.0\.1"):
        _connect(("127.0.0.1", free_port()), b"secret", 1, 2, 0.2)


def test_another_program_that_says_nothing_is_not_waited_for() -> None:
    begin = time.monotonic()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(RankFailed, match="rank 0 did not listen"):
            _connect(server.getsockname(), b"secret", 1, 2, 1.0)
    assert time.monotonic() - begin < 20


def join(*ranks: tuple[int, int]) -> list[str]:
    """Let rank 0 of 3 and others, with these ranks and sizes, find one another; return their errors."""
    address, errors = ("127.0.0.1", free_port()), [""] * (1 + len(ranks))

    def run(i: int) -> None:
        try:
            if i == 0:
                _accept(address, b"secret", 3, 5.0)
            else:
                _connect(address, b"secret", *ranks[i - 1], 5.0)
        except RuntimeError as error:
            errors[i] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(1 + len(ranks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_program_that_connects_and_says_nothing_is_no_rank() -> None:
    address = "127.0.0.1", free_port()
    silent, errors = socket.socket(), []

    def accept() -> None:
        try:
            assert [*_accept(address, b"secret", 2, 10.0)] == [1]
        except RankFailed as error:
            errors.append(error)

    root = threading.Thread(target=accept)
    root.start()
    while silent.connect_ex(address):
        time.sleep(0.01)
    _connect(address, b"secret", 1, 2, 10.0)
    root.join()
    silent.close()
    assert not errors


def test_ranks_that_do_not_fit_together_are_all_told() -> None:
    assert join((1, 3), (2, 3)) == [""] * 3
    assert join((1, 3), (2, 4)) == ["WORLD_SIZE is 3 at rank 0, and 4 at rank 2: set it alike"] * 3
    assert join((1, 3), (1, 3)) == ["2 processes have RANK=1: number them from 0 on"] * 3


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be a whole number from 1 on, got '0'"),
        ({"WORLD_SIZE": "1e1"}, "WORLD_SIZE must be a whole number from 1 on, got '1e1'"),
        ({"RANK": "-1"}, r"RANK must be a whole number in \[0, .*\], got '-1'"),
        ({"RANK": "7"}, "RANK is 7, but WORLD_SIZE is 2: number the ranks from 0"),
        ({"MASTER_PORT": "99999999"}, r"MASTER_PORT must be a whole number in \[1, 65534\], got '99999999'"),
        ({"MASTER_PORT": "0"}, r"MASTER_PORT must be a whole number in \[1, 65534\], got '0'"),
    ],
)
def test_wrong_variables_are_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    for name, value in ({"RANK": "0", "WORLD_SIZE": "2"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match=message):
        find_communicator(timeout=1.0)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(RuntimeError, match=r"rank 0 cannot listen at .*: set MASTER_ADDR and MASTER_PORT"):
            _accept(server.getsockname(), b"secret", 2, 1.0)


def test_ranks_on_several_machines_need_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.7")
    with pytest.raises(RuntimeError, match="set PORTANET_AUTHKEY to the same random text on all machines"):
        _address(2)
    monkeypatch.setenv("PORTANET_AUTHKEY", "secret")
    assert _address(2) == ("10.0.0.7", 29500)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # all ranks are on this machine
    assert _address(2) == ("127.0.0.1", 29500)


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({"RANK": "0", "WORLD_SIZE": "4"}, 4),
        ({"WORLD_SIZE": "4"}, 1),
        ({"RANK": "0", "WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"}, 4),  # one torchrun on each of two machines
        ({"RANK": "0", "WORLD_SIZE": "1", "PMI_SIZE": "3"}, 3),
        ({"SLURM_STEP_NUM_TASKS": "2"}, 2),
    ],
)
def test_launchers(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], size: int) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert n_launched() == size


def in_threads(size: int, task: Callable[[TCP], Any], timeout: float) -> list[Any]:
    """Run a task on ranks that are threads of this process, and return results or errors."""
    address = "127.0.0.1", free_port()
    found: list[Any] = [None] * size

    def run(rank: int) -> None:
        ranks = object.__new__(TCP)
        ranks.rank, ranks.size, ranks.timeout = rank, size, timeout
        if rank == 0:
            ranks._others = _accept(address, b"secret", size, 10.0)
        else:
            ranks._root = _connect(address, b"secret", rank, size, 10.0)
        try:
            found[rank] = task(ranks)
        except (RankFailed, RuntimeError, ValueError) as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_the_lost_rank_is_named_although_rank_0_comes_late() -> None:
    def task(ranks: TCP) -> None:
        if ranks.rank == 2:
            time.sleep(3 * ranks.timeout + ROOT_SECONDS)
            return
        if ranks.rank == 0:
            time.sleep(ranks.timeout + ROOT_SECONDS - 1.0)  # rank 1 has waited for almost as long as it does
        ranks.barrier()

    late, waiting, _ = in_threads(3, task, 3.0)
    assert "rank 2 did not answer for 3 s" in str(late)
    assert "rank 2 did not answer for 3 s" in str(waiting)


def test_arrays_of_different_shapes_are_refused_by_all() -> None:
    def task(ranks: TCP) -> None:
        ranks.all_reduce(np.zeros((2, 3) if ranks.rank else (3, 2)))

    for error in in_threads(2, task, 5.0):
        assert "the ranks call all_reduce of float64, shape (2, 3) and all_reduce of float64, shape (3, 2)" in str(
            error
        )


def test_an_error_while_values_are_combined_reaches_all() -> None:
    def fail(values: list[Any]) -> Any:
        raise ValueError("no sum of these")

    begin = time.monotonic()
    first, second = in_threads(2, lambda ranks: ranks._exchange("a sum", ranks.rank, fail), 20.0)
    assert str(first) == "no sum of these"
    assert "rank 0 failed with ValueError: no sum of these" in str(second)
    assert time.monotonic() - begin < 10
