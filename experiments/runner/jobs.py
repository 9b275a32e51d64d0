"""Run many tasks: one after another, in processes of this computer, or on a cluster."""

import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from threading import Thread
from time import sleep
from typing import Any, NamedTuple, Protocol

from experiments.runner.results import Study, cores
from portanet import BackendUnavailable, Diverged, FileFormatError

INSTALL = "pip install 'portanet[experiments]'"


class Task(NamedTuple):
    """A study, a seed to run, and whether to keep the pictures."""

    study: Study
    seed: int
    draw: bool

    def __str__(self) -> str:
        return f"{self.study.experiment.id}, seed {self.seed}"


class Pool(Protocol):
    """Workers, each of which runs one task at a time."""

    def size(self) -> int:
        """Return the number of workers."""

    def submit(self, task: Task) -> Future[str]:
        """Run a task in an idle worker."""

    def outcome(self, future: Future[str]) -> str:
        """Return the error message of a finished task, "" without an error."""

    def close(self) -> None:
        """Stop the tasks that are running."""


def run_all(
    tasks: Sequence[Task], jobs: int = 1, cluster: Pool | None = None
) -> Generator[tuple[Task, str], None, None]:
    """
    Run tasks; a failure does not stop the other tasks.

    Parameters
    ----------
    tasks : sequence of Task
        Tasks, started in this order.
    jobs : int
        Number of parallel processes; with 1, the tasks run in this process.
    cluster : Pool, optional
        Workers that run the tasks instead of processes of this computer.

    Yields
    ------
    tuple of Task and str
        A finished task and its error message, "" without an error.
    """
    if cluster is not None:
        yield from _in_pool(tasks, cluster)
    elif min(jobs, len(tasks)) > 1:
        yield from _in_pool(tasks, Processes(min(jobs, len(tasks))))
    else:
        for count, task in enumerate(tasks, start=1):
            print(f"[{count}/{len(tasks)}] {task}", file=sys.stderr)
            yield task, attempt(task)


def attempt(task: Task) -> str:
    """Run a task; return "", an error message or, if the experiment has a bug, a traceback."""
    try:
        task.study.measure(task.seed, draw=task.draw)
    except ModuleNotFoundError as error:
        return f"{error}: {INSTALL}"
    except (ImportError, BackendUnavailable, Diverged, FileFormatError, OSError) as error:
        return str(error)
    except Exception:
        return traceback.format_exc()
    return ""


def _in_pool(tasks: Sequence[Task], pool: Pool) -> Generator[tuple[Task, str], None, None]:
    from tqdm import tqdm

    waiting, running = deque(tasks), dict[Future[str], Task]()
    with closing(pool), tqdm(total=len(tasks), unit="run", disable=None) as bar:
        while waiting or running:
            while waiting and len(running) < pool.size():
                task = waiting.popleft()
                running[pool.submit(task)] = task
            for future in wait(running, timeout=5, return_when=FIRST_COMPLETED).done:  # the size may change meanwhile
                bar.clear()
                yield running.pop(future), pool.outcome(future)
                bar.update()


class Processes:
    """Processes of this computer, each with an executor of its own: one that is killed fails only its own task."""

    def __init__(self, jobs: int) -> None:
        # Loky replaces a process whose memory grew by 300 MB, and warns if it was given a task meanwhile.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        self.jobs = jobs
        self.idle = [self._executor() for _ in range(jobs)]
        self.busy: dict[Future[str], Any] = {}

    def size(self) -> int:
        return self.jobs

    def submit(self, task: Task) -> Future[str]:
        executor = self.idle.pop()
        try:
            future: Future[str] = executor.submit(attempt, task)
        except BrokenProcessPool:  # the process was killed while it was idle
            executor = self._executor()
            future = executor.submit(attempt, task)
        self.busy[future] = executor
        return future

    def outcome(self, future: Future[str]) -> str:
        executor = self.busy.pop(future)
        try:
            error = future.result()
        except BrokenProcessPool:
            error, executor = "the process was killed, perhaps for lack of memory; use fewer --jobs", self._executor()
        self.idle.append(executor)
        return error

    def close(self) -> None:
        for executor in (*self.idle, *self.busy.values()):
            executor.shutdown(kill_workers=True)

    def _executor(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // self.jobs)))
        environment = {"OMP_NUM_THREADS": threads}
        return ProcessPoolExecutor(1, initializer=_start_worker, initargs=(os.getpid(),), env=environment)


def _start_worker(parent: int) -> None:
    """Leave terminal and SIGINT to the parent process, and exit when it ends."""
    Thread(target=_exit_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        sleep(1)
    os._exit(1)
