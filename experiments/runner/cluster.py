"""Run tasks on a Dask cluster."""

from concurrent.futures import CancelledError, Future
from dataclasses import replace
from logging import CRITICAL, getLogger
from threading import Lock

from distributed import Client, KilledWorker
from distributed.comm import get_address_host_port

from experiments.runner.jobs import Task, attempt
from portanet import BackendUnavailable, get_backend

TIMEOUT = 30
"""Seconds to wait for the scheduler, and for the first worker."""

ONE_TASK = Lock()
"""Held by the task that runs in this worker, which may have several threads."""


class Cluster:
    """
    A Dask cluster. Its workers write the results, to a folder that they share with this computer.

    The task of a worker that was killed runs again in another worker, as often as Dask's setting
    ``distributed.scheduler.allowed-failures`` allows (3 by default).

    Parameters
    ----------
    address : str
        Address of the scheduler.

    Raises
    ------
    OSError
        If the scheduler does not answer, or has no workers.
    ValueError
        If the address is malformed.
    """

    def __init__(self, address: str) -> None:
        getLogger("distributed.client").setLevel(CRITICAL)  # the command prints these errors in one sentence
        address = address if "://" in address else f"tcp://{address}"
        get_address_host_port(address, strict=True)  # Client would need a minute to refuse a malformed address
        self.client = Client(address, timeout=TIMEOUT, set_as_default=False)
        try:
            self.client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError as error:
            self.client.close()
            raise OSError(f"{address} has no workers; start one with: dask worker {address} --nthreads 1") from error
        self.executor = self.client.get_executor(pure=False)

    def device(self, name: str) -> str:
        """Return the full name of a device, as a worker knows it."""
        try:
            self.client.run_on_scheduler(_device, "cpu")  # the scheduler reads the tasks
            return str(next(iter(self.client.run(_device, name).values())))
        except (ValueError, BackendUnavailable):
            raise
        except Exception as error:  # Dask's own, which only tells of the ModuleNotFoundError of another process
            fix = "start the scheduler and the workers with PYTHONPATH=. in the root of the repository"
            raise ConnectionError(f"the cluster cannot run experiments: {error}; {fix}") from error

    def size(self) -> int:
        try:
            return max(1, len(self.client.nthreads()))
        except OSError as error:
            address = self.client.scheduler.address
            raise ConnectionError(
                f"the scheduler {address} has ended; the same command with another continues"
            ) from error

    def submit(self, task: Task) -> Future[str]:
        study = replace(task.study, folder=task.study.folder.absolute())
        future: Future[str] = self.executor.submit(attempt_in_worker, task._replace(study=study))
        return future

    def outcome(self, future: Future[str]) -> str:
        try:
            return future.result()
        except KilledWorker as error:
            return f"{error.allowed_failures + 1} workers were killed while they ran it, perhaps for lack of memory"
        except CancelledError:
            return "the connection to the cluster was lost"
        except Exception as error:  # a worker that joined cannot import the experiments
            return f"a worker cannot run it: {error}"

    def close(self) -> None:
        self.executor.shutdown(wait=False)
        self.client.close()


def attempt_in_worker(task: Task) -> str:
    """Run a task in a Dask worker, after the task that already runs there."""
    out = task.study.folder.parent
    if not out.is_dir():
        return f"a worker has no folder {out}; --dask needs a file system that all workers and this computer share"
    with ONE_TASK:
        return attempt(task)


def _device(name: str) -> str:
    return str(get_backend(name).name)
