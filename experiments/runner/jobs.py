"""Run many tasks, one after another or in parallel processes."""

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import NamedTuple

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


def run_all(tasks: Sequence[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    """
    Run tasks; a failure does not stop the other tasks.

    Parameters
    ----------
    tasks : sequence of Task
        Tasks, started in this order.
    jobs : int
        Number of parallel processes; with 1, the tasks run in this process.

    Yields
    ------
    tuple of Task and str
        A finished task and its error message, "" without an error.
    """
    if min(jobs, len(tasks)) > 1:
        yield from _in_parallel(tasks, min(jobs, len(tasks)))
        return
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


def _in_parallel(tasks: Sequence[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    from tqdm import tqdm

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))  # read when BLAS is loaded
    waiting = deque(tasks)
    with tqdm(total=len(tasks), unit="run", disable=None) as bar:
        while waiting:  # a process that dies ends its pool; the remaining tasks get a new one
            for task, error in _in_pool(waiting, jobs):
                bar.clear()
                yield task, error
                bar.update()


def _in_pool(waiting: deque[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    """Run waiting tasks in a pool of processes, until none is left or a process has died."""
    running: dict[Future[str], Task] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker) as pool:
        try:
            died = False
            while running or (waiting and not died):
                while waiting and not died and len(running) < jobs:
                    try:
                        running[pool.submit(attempt, waiting[0])] = waiting[0]
                        waiting.popleft()
                    except BrokenProcessPool:
                        died = True
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    died = died or isinstance(future.exception(), BrokenProcessPool)
                    yield running.pop(future), _outcome(future)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _start_worker() -> None:
    """Leave terminal and SIGINT to the parent process, and exit when it ends."""
    Thread(target=_exit_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _outcome(future: Future[str]) -> str:
    try:
        return future.result()
    except BrokenProcessPool:
        return "the process was killed, perhaps for lack of memory; use fewer --jobs"
