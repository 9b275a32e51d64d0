"""Work off many runs, one after another or side by side."""

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
from portanet import BackendUnavailable, Diverged

INSTALL = "pip install 'portanet[experiments]'"


class Task(NamedTuple):
    """A seed that a study waits for, and whether to keep its pictures."""

    study: Study
    seed: int
    draw: bool

    def __str__(self) -> str:
        return f"{self.study.experiment.id}, seed {self.seed}"


def run_all(tasks: Sequence[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    """
    Carry tasks out; one that fails does not hold up the others.

    Parameters
    ----------
    tasks : sequence of Task
        Begun in this order.
    jobs : int
        How many at once, each in a process of its own if more than one.

    Yields
    ------
    tuple of Task and str
        A task that has ended, and what went wrong: "" if nothing did.
    """
    if min(jobs, len(tasks)) > 1:
        yield from _side_by_side(tasks, min(jobs, len(tasks)))
        return
    for count, task in enumerate(tasks, start=1):
        print(f"[{count}/{len(tasks)}] {task}", file=sys.stderr)
        yield task, attempt(task)


def attempt(task: Task) -> str:
    """Run a task; return what went wrong: a sentence that names the fix or, if an experiment has a bug, where."""
    try:
        task.study.measure(task.seed, draw=task.draw)
    except ModuleNotFoundError as error:
        return f"{error}: {INSTALL}"
    except (ImportError, BackendUnavailable, Diverged, OSError) as error:
        return str(error)
    except Exception:
        return traceback.format_exc()
    return ""


def _side_by_side(tasks: Sequence[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    from tqdm import tqdm

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))  # read by every BLAS, but only at its start
    waiting = deque(tasks)
    with tqdm(total=len(tasks), unit="run", disable=None) as bar:
        while waiting:  # once more after a process has died, which ends its pool
            for task, mistake in _in_pool(waiting, jobs):
                bar.clear()
                yield task, mistake
                bar.update()


def _in_pool(waiting: deque[Task], jobs: int) -> Generator[tuple[Task, str], None, None]:
    """Take tasks off those that wait, as many as there are processes, until none is left or a process has died."""
    running: dict[Future[str], Task] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn"), _serve) as pool:
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


def _serve() -> None:
    """Leave the terminal to the process with the bar, and an interruption too; and end when it ends."""
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _outcome(future: Future[str]) -> str:
    try:
        return future.result()
    except BrokenProcessPool:
        return "a process was ended from outside, perhaps for lack of memory: take fewer --jobs"
