"""
Ranks that MPI starts, through mpi4py: ``mpiexec -n 4 python train.py``.

Between the ranks of one machine, arrays go through memory that they share. Between machines, one rank of each calls
MPI: its leader.

Every wait ends after a time. The error then names the ranks that did not come.
"""

import atexit
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from portanet.backends import set_num_threads
from portanet.checks import check_number
from portanet.distributed.base import TIMEOUT, Communicator, RankFailed, failure, sum_in_order
from portanet.distributed.launch import find_communicator

SPINS, NAP = 2000, 5e-5
"""Looks at the other ranks before a wait begins to sleep between them, and seconds of such a sleep."""

MAX_SMALL = 2**13
"""Most bytes of an array that every rank adds up itself, so that the ranks wait for one another once, and not twice."""

ARRIVED, FAILED, PID, WORLD_RANK = range(4)
"""Places of the numbers of a rank in the shared memory."""

N_NUMBERS, N_TEXT = 8, 1024
"""Integers of a rank in the shared memory, and bytes of the message of its error."""

WAITING = 1
"""Tag of the messages by which a leader tells the others, after a while, that it waits for them."""


class MPI(Communicator):
    """
    The ranks of ``MPI.COMM_WORLD``.

    Unless a variable such as ``OMP_NUM_THREADS`` says otherwise, the ranks of a machine share its cores.

    Parameters
    ----------
    timeout : float
        Seconds after which a rank that has not joined an operation counts as lost.

    Raises
    ------
    ImportError
        If mpi4py is missing: ``pip install mpi4py mpich``.
    """

    def __init__(self, *, timeout: float = TIMEOUT):
        self.timeout = check_number("timeout", timeout, above=0)
        mpi = _import_mpi()
        world = self._world = mpi.COMM_WORLD.Dup()
        self.rank, self.size = world.Get_rank(), world.Get_size()
        self._node = world.Split_type(mpi.COMM_TYPE_SHARED, self.rank)
        self.local_rank = self._node.Get_rank()
        leader = self.local_rank == 0
        self._leaders = world.Split(0 if leader else mpi.UNDEFINED, self.rank)
        self._n_nodes = int(world.allreduce(int(leader)))
        self._mpi, self._room = mpi, _Room(mpi, self._node, self.rank)
        self._n_waits = 0
        _at_exit.append(self)
        if not any(name in os.environ for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")):
            set_num_threads(max(1, len(os.sched_getaffinity(0)) // self._node.Get_size()))

    def all_reduce_host(self, array: np.ndarray) -> None:
        room, mine = self._room, self.local_rank
        slots, result = room.arrays(array)
        slots[mine][...] = np.ravel(array)
        self._meet()
        if array.nbytes <= MAX_SMALL and self._n_nodes == 1:
            sum_in_order(slots, result_here := np.empty_like(slots[mine]))
            array[...] = result_here.reshape(array.shape)
            return
        part = slice(*(array.size * i // len(slots) for i in (mine, mine + 1)))
        sum_in_order([slot[part] for slot in slots], result[part])
        self._meet()
        if self._n_nodes > 1:
            if mine == 0:
                self._wait_for_leaders(self._leaders.Iallreduce(self._mpi.IN_PLACE, result))
            self._meet()
        array[...] = result.reshape(array.shape)

    def all_gather(self, value: Any) -> list[Any]:
        self._meet()  # names the ranks that are lost; those of other machines answer, or the next line waits for them
        values: list[Any] = self._world.allgather(value)
        return values

    def fail(self, error: BaseException) -> None:
        self._room.write_failure(self.local_rank, error)
        said = f": {error}" if isinstance(error, RankFailed) else f" failed with {type(error).__name__}: {error}"
        # In one piece and at once: mpiexec may end this process as soon as it sees that another one is lost.
        os.write(2, f"portanet: rank {self.rank}{said}\n".encode())

    def __reduce__(self) -> Any:
        """Pickle as the ranks of the process that reads it."""
        return find_communicator, ()

    def _meet(self) -> None:
        """Wait until all ranks of this machine have come to the same place."""
        self._n_waits += 1
        self._room.arrive(self.local_rank, self._n_waits)
        self._wait(lambda: self._room.all_arrived(self._n_waits), lambda: self._room.late(self._n_waits))

    def _wait_for_leaders(self, request: Any) -> None:
        """Complete an operation between machines."""
        told, begin = False, time.monotonic()

        def done() -> bool:
            nonlocal told
            if not told and time.monotonic() - begin > min(1.0, self.timeout / 4):
                told = True
                for leader in range(self._n_nodes):
                    if leader != self._leaders.Get_rank():
                        self._leaders.isend((self.rank, self._n_waits), leader, WAITING)
            return bool(request.Test())

        def late() -> list[int]:
            """Return the leaders that have not said that they wait, too."""
            waiting = {self.rank}
            while self._leaders.iprobe(tag=WAITING):
                rank, n_waits = self._leaders.recv(tag=WAITING)
                waiting |= {rank} if n_waits == self._n_waits else set()
            return sorted({*self._leader_ranks} - waiting)

        self._wait(done, late)

    @property
    def _leader_ranks(self) -> list[int]:
        """World ranks of the leaders."""
        group, world = self._leaders.Get_group(), self._world.Get_group()
        return list(group.Translate_ranks(list(range(self._n_nodes)), world))

    def _wait(self, done: Callable[[], bool], late: Callable[[], list[int]]) -> None:
        """Wait until something is done, or raise RankFailed."""
        for _ in range(SPINS):
            if done():
                return
        begin = looked = time.monotonic()
        while not done():
            time.sleep(NAP)
            now = time.monotonic()
            if failed := self._room.failure():
                raise failed
            if now - looked > 0.2:
                looked = now
                if (dead := self._room.dead()) and not done():
                    raise failure(dead, "died")
            if now - begin > self.timeout:
                raise failure(late(), f"did not answer for {self.timeout:g} s")


class _Room:
    """Memory that the ranks of a machine share: their numbers, messages of errors, and room for arrays."""

    def __init__(self, mpi: Any, node: Any, rank: int):
        self._mpi, self._node, self._size, self._mine = mpi, node, node.Get_size(), node.Get_rank()
        self._windows: list[Any] = []  # one that is freed takes its memory with it
        head = self._allocate(self._size * (8 * N_NUMBERS + N_TEXT))
        self._numbers = head[: self._size * 8 * N_NUMBERS].view(np.int64).reshape(self._size, N_NUMBERS)
        self._texts = head[self._size * 8 * N_NUMBERS :].reshape(self._size, N_TEXT)
        self._window = self._windows[-1]
        self._capacity, self._data, self._turn = 0, [head[:0]] * 2, 0
        if self._mine == 0:
            self._numbers[...] = 0
        node.Barrier()
        self._numbers[self._mine, PID], self._numbers[self._mine, WORLD_RANK] = os.getpid(), rank
        self._same_pids = len({*node.allgather(_pid_namespace())}) == 1
        self._places: Any = memoryview(self._numbers.reshape(-1))  # type: ignore[arg-type]  # faster to index than an array
        node.Barrier()

    def _allocate(self, n_bytes: int) -> np.ndarray:
        """Return bytes that all ranks of the machine see; it is collective."""
        mpi, node = self._mpi, self._node
        window = mpi.Win.Allocate_shared(n_bytes if node.Get_rank() == 0 else 0, 1, comm=node)
        window.Lock_all(mpi.MODE_NOCHECK)
        self._windows.append(window)
        buffer, _ = window.Shared_query(0)
        return np.frombuffer(buffer, np.uint8)

    def arrays(self, like: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """
        Return a flat array for each rank, and one for the result.

        There are two sets, in turn: a rank may fill the next one while another still reads.
        """
        n = -(-like.nbytes // 64) * 64
        if n > self._capacity:
            self._capacity = max(n, 2 * self._capacity, 2**16)
            whole = self._allocate(2 * (self._size + 1) * self._capacity)
            self._data = [whole[: whole.size // 2], whole[whole.size // 2 :]]
        self._turn ^= 1
        rows = self._data[self._turn].reshape(self._size + 1, -1)[:, : like.nbytes]
        views = [row.view(like.dtype) for row in rows]
        return views[:-1], views[-1]

    def arrive(self, mine: int, n: int) -> None:
        """Say that this rank has come to its n-th meeting; what it wrote before is visible then."""
        self._window.Sync()
        self._places[mine * N_NUMBERS + ARRIVED] = n

    def all_arrived(self, n: int) -> bool:
        """Whether all ranks have come to their n-th meeting."""
        places = self._places
        for i in range(ARRIVED, len(places), N_NUMBERS):
            if places[i] < n:
                return False
        self._window.Sync()
        return True

    def late(self, n: int) -> list[int]:
        """Return the ranks that have not come to their n-th meeting."""
        return [int(row[WORLD_RANK]) for row in self._numbers if row[ARRIVED] < n]

    def dead(self) -> list[int]:
        """Return the ranks whose processes have ended."""
        if not self._same_pids:
            return []
        return [int(row[WORLD_RANK]) for row in self._numbers if not _lives(int(row[PID]))]

    def write_failure(self, mine: int, error: BaseException) -> None:
        """Leave the message of an error for the others."""
        text = f"failed with {type(error).__name__}: {error}".encode()[:N_TEXT]
        self._texts[mine, : len(text)] = np.frombuffer(text, np.uint8)
        self._window.Sync()
        self._numbers[mine, FAILED] = -len(text) if isinstance(error, RankFailed) else len(text)

    def failure(self) -> RankFailed | None:
        """Return the error that another rank has left; its cause rather than what followed from it."""
        lengths = self._numbers[:, FAILED]
        if not lengths.any():
            return None
        first = int(np.argmax(lengths)) if lengths.max() > 0 else int(np.argmin(lengths))
        text = bytes(self._texts[first, : abs(int(lengths[first]))]).decode(errors="replace")
        return failure([int(self._numbers[first, WORLD_RANK])], text)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except (OSError, IndexError):  # it belongs to another user, or there is no /proc
        return True


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


_at_exit: list[MPI] = []
"""The communicators of this process."""


def _import_mpi() -> Any:
    """Import mpi4py, which must not wait for lost ranks when the process ends."""
    try:
        import mpi4py
    except ImportError as error:
        raise ImportError("several ranks need mpi4py: pip install mpi4py mpich") from error
    mpi4py.rc.finalize = False
    from mpi4py import MPI as mpi  # noqa: N811

    if not _at_exit:
        atexit.register(_finish, mpi)
    return mpi


def _finish(mpi: Any) -> None:
    """End MPI; after a failure let the others write their messages, and then end them."""
    if any(communicator._room.failure() for communicator in _at_exit):
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(1.0)
        mpi.COMM_WORLD.Abort(1)
    elif mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()
