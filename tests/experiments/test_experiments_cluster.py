"""``python -m experiments run --dask``: the files of a cluster with two worker processes, and its errors."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")

import distributed

from experiments.__main__ import main
from experiments.runner import Study, discover
from experiments.runner.cluster import Cluster, attempt_in_worker
from experiments.runner.jobs import Task

RUN = ["run", "000-toy-tanh", "digits", "--quick", "--seeds", "2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("in-turn")
    assert main([*RUN, "--out", str(out)]) == 0
    return out


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


def files(out: Path) -> dict[str, Any]:
    """Return the figures of each record and of each result, and the bytes of each picture, by path."""
    found: dict[str, Any] = {}
    for path in out.rglob("*.*"):
        content = path.read_bytes()
        found[str(path.relative_to(out))] = json.loads(content)["figures"] if path.suffix == ".json" else content
    return found


def test_files_are_those_of_runs_in_turn(cluster: Any, in_turn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--out", "out", "--dask", cluster.scheduler_address]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "digits, quick, seeds 0, 1, on cpu" in captured.out
    assert f"picture: {Path('out', 'digits', 'curves.png')}" in captured.out
    assert files(Path("out")) == files(in_turn)
    assert main([*RUN, "--out", "out", "--dask", cluster.scheduler_address]) == 0
    assert capsys.readouterr().err.count("is already finished") == 2


def test_runs_of_a_killed_worker_are_taken_up_by_others(
    cluster: Any, in_turn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []
    stop = Event()

    def kill_a_busy_worker() -> None:
        workers = {nanny.worker_address: nanny.pid for nanny in cluster.workers.values()}
        while not killed and not stop.wait(0.02):
            for state in list(cluster.scheduler.workers.values()):
                if any("attempt_in_worker" in str(task.key) for task in list(state.processing)):
                    sleep(0.3)
                    os.kill(workers[state.address], signal.SIGKILL)
                    killed.append(workers[state.address])
                    break

    killer = Thread(target=kill_a_busy_worker)
    killer.start()
    try:
        assert main([*RUN, "--out", "out", "--dask", cluster.scheduler_address]) == 0
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 1
    assert capsys.readouterr().err == ""
    assert files(Path("out")) == files(in_turn)


def test_error_in_a_worker_is_a_one_sentence_error(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def forget_data() -> None:
        os.environ["PORTANET_DATA"] = "nowhere"

    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.run(forget_data)
    assert main(["run", "003-mlp", "000-toy-tanh", "--quick", "--dask", cluster.scheduler_address]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("experiments: 003-mlp, seed 0: PORTANET_DATA is 'nowhere', which is not a folder")
    assert captured.err.count("\n") == 1
    assert "000-toy-tanh, quick" in captured.out


def test_device_is_that_of_the_workers(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Cluster(cluster.scheduler_address)) as pool:
        assert pool.size() == 2
        assert pool.device("cpu") == "cpu"
    assert main(["run", "digits", "--device", "cpu:1", "--dask", cluster.scheduler_address]) == 1
    assert capsys.readouterr().err.startswith("experiments: device 'cpu:1' does not exist")


def test_worker_that_cannot_import_the_experiments(
    cluster: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Exception("ModuleNotFoundError(\"No module named 'experiments'\")")

    monkeypatch.setattr(distributed.Client, "run", fail)
    assert main(["run", "digits", "--dask", cluster.scheduler_address]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("experiments: the cluster cannot run experiments: ModuleNotFoundError(")
    assert captured.endswith("; start the scheduler and the workers with PYTHONPATH=. in the root of the repository\n")


@pytest.mark.parametrize("address", ["localhost", "foo://localhost:8786", "localhost:first"])
def test_malformed_address(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "digits", "--dask", address]) == 2
    expected = f"experiments: --dask must be an address such as tcp://localhost:8786, got {address}\n"
    assert capsys.readouterr().err == expected


def test_scheduler_that_does_not_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.runner.cluster.TIMEOUT", 1)
    assert main(["run", "digits", "--dask", "tcp://127.0.0.1:1"]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("experiments: ")
    assert "tcp://127.0.0.1:1" in captured
    assert captured.count("\n") == 1


def test_cluster_without_workers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.runner.cluster.TIMEOUT", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        assert main(["run", "digits", "--dask", empty.scheduler_address]) == 1
        address = empty.scheduler_address
    fix = f"start one with: dask worker {address} --nthreads 1"
    assert capsys.readouterr().err == f"experiments: {address} has no workers; {fix}\n"


def test_worker_without_the_folder_of_results() -> None:
    study = Study(discover()["digits"], "cpu", Path("missing", "digits").absolute(), quick=True)
    assert f"a worker has no folder {Path('missing').absolute()}; --dask needs" in attempt_in_worker(
        Task(study, 0, False)
    )
    assert not Path("missing").exists()


def test_a_worker_runs_one_task_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = [], []

    def measure(self: Study, seed: int, *, draw: bool = True) -> None:
        running.append(seed)
        most.append(len(running))
        sleep(0.05)
        running.remove(seed)

    monkeypatch.setattr(Study, "measure", measure)
    study = Study(discover()["digits"], "cpu", Path("digits").absolute())
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(attempt_in_worker, [Task(study, seed, False) for seed in range(4)])) == {""}
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (distributed.KilledWorker("key", None, 3), "4 workers were killed while they ran it"),
        (ModuleNotFoundError("No module named 'experiments'"), "a worker cannot run it: No module named 'experiments'"),
        (None, "the connection to the cluster was lost"),
    ],
)
def test_outcome_of_a_task_that_dask_could_not_run(error: Exception | None, message: str, cluster: Any) -> None:
    future: Future[str] = Future()
    if error is None:
        future.cancel()
    else:
        future.set_exception(error)
    with closing(Cluster(cluster.scheduler_address)) as pool:
        assert pool.outcome(future).startswith(message)
