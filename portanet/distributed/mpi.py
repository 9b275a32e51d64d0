"""
Ranks that MPI starts, through mpi4py: ``mpiexec -n 4 python train.py``.

Between the ranks of one machine, arrays go through memory that they share. Between machines, one rank of each calls
MPI: its leader.

An operation that waits too long for the others raises an error that names the ranks that did not come. Only the start
of MPI itself waits without a limit.
"""

import atexit
import os
import pickle
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from portanet.checks import check_number
from portanet.distributed.base import TIMEOUT, RankFailed, rank_failed, sum_in_order
from portanet.distributed.cores import share_cores, usable_cores
from portanet.distributed.launch import RANK_PID, n_launched
from portanet.distributed.processes import ProcessCommunicator, communicators, report_uncaught_errors
from portanet.kernels.slices import part_of, slices

MAX_POLLS, POLL_SECONDS = 2000, 5e-5
"""Looks at the other ranks before a wait begins to sleep between them, and seconds of such a sleep."""

BLOCK = 2**20
"""Bytes of an array that are added up at a time; each rank has room for so many."""

LEADER_SECONDS = 5.0
"""Seconds that a rank waits longer for its leader than that waits for other machines."""

MAX_ONE_BARRIER = 2**13
"""Most bytes of an array that every rank adds up itself, so that the ranks wait for one another once, and not twice."""

ARRIVED, FAILED, PID, WORLD_RANK, OPERATION = range(5)  # two places for operations, in turn
"""Places of the numbers of a rank in the shared memory."""

N_NUMBERS, N_TEXT = 8, 1024
"""Integers of a rank in the shared memory, and bytes of the message of its error."""

WAITING_TAG = 1
"""Tag of the messages by which a leader tells the others, after a while, that it waits for them."""


class MPI(ProcessCommunicator):
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
        self._mpi, self._memory = mpi, _SharedMemory(mpi, self._node, self.rank)
        self._n_waits, self._operation = 0, ""
        report_uncaught_errors(self)
        if self.size != (launched := n_launched()) and launched > 1:
            fix = "install mpi4py for the MPI of the launcher, or give communicator=None"
            raise RuntimeError(f"{launched} processes were launched, but MPI sees {self.size} rank: {fix}")
        os.environ[RANK_PID] = str(os.getpid())  # processes that this one starts are no ranks
        share_cores(self._node.allgather(usable_cores()))

    def all_reduce_host(self, array: np.ndarray) -> None:
        numbers = array.reshape(-1)  # a view: the array is contiguous
        self._begin(f"all_reduce of {array.dtype}, shape {array.shape}")
        self._reduce(numbers)

    def _reduce(self, numbers: np.ndarray) -> None:
        """Add up the arrays of all ranks, block by block."""
        for rows in slices(numbers.size, BLOCK // numbers.itemsize):
            self._reduce_block(numbers[rows])

    def _reduce_block(self, block: np.ndarray) -> None:
        slots, result = self._memory.arrays(block)
        slots[self.local_rank][...] = block
        self._barrier()
        if block.nbytes <= MAX_ONE_BARRIER and self._n_nodes == 1:
            sum_in_order(slots, block)
            return
        part = part_of(slice(0, block.size), self.local_rank, len(slots))
        sum_in_order([slot[part] for slot in slots], result[part])
        self._barrier()
        if self._n_nodes > 1:
            if self.local_rank == 0:
                self._wait_for_leaders(self._leaders.Iallreduce(self._mpi.IN_PLACE, result))
            self._barrier(extra=LEADER_SECONDS)  # the leader names the rank that is lost, not the others their leader
        block[...] = result

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        self._begin(f"all_gather of {what}")
        content = pickle.dumps(value)
        lengths = np.zeros(self.size, "int64")
        lengths[self.rank] = len(content)
        self._reduce(lengths)
        ends = np.cumsum(lengths)
        begins, whole = ends - lengths, np.zeros(int(ends[-1]), np.uint8)
        whole[begins[self.rank] : ends[self.rank]] = np.frombuffer(content, np.uint8)
        self._reduce(whole)  # each byte is 0 on all ranks but one, so that the sum is that byte
        return [pickle.loads(whole[begin:end].tobytes()) for begin, end in zip(begins, ends, strict=True)]

    def send_error(self, error: BaseException) -> None:
        self._memory.write_failure(self.local_rank, error)

    def _begin(self, operation: str) -> None:
        """Say which operation this rank calls, to be compared at the next meeting."""
        if self.broken is not None:
            raise self.broken
        self._operation = operation

    def _barrier(self, extra: float = 0.0) -> None:
        """Wait until all ranks of this machine have come to the same place, and see that it is the same."""
        self._n_waits += 1
        n, memory = self._n_waits, self._memory
        memory.arrive(self.local_rank, n, zlib.crc32(self._operation.encode()))
        self._wait(lambda: memory.all_arrived(n), lambda: memory.missing(n), extra)
        if not memory.all_agree(n):
            raise RuntimeError(f"rank {self.rank} calls {self._operation}, another one does not: call the same on all")

    def _wait_for_leaders(self, request: Any) -> None:
        """Complete an operation between machines."""
        told, begin = False, time.monotonic()

        def done() -> bool:
            nonlocal told
            if not told and time.monotonic() - begin > min(1.0, self.timeout / 4):
                told = True
                for leader in range(self._n_nodes):
                    if leader != self._leaders.Get_rank():
                        self._leaders.isend((self.rank, self._n_waits), leader, WAITING_TAG)
            return bool(request.Test())

        def missing() -> list[int]:
            """Return the leaders that have not said that they wait, too; all others if all have said so."""
            waiting = set()
            while self._leaders.iprobe(tag=WAITING_TAG):
                rank, n_waits = self._leaders.recv(tag=WAITING_TAG)
                waiting |= {rank} if n_waits == self._n_waits else set()
            others = {*self._leader_ranks} - {self.rank}
            return sorted(others - waiting or others)

        self._wait(done, missing)

    @property
    def _leader_ranks(self) -> list[int]:
        """World ranks of the leaders."""
        group, world = self._leaders.Get_group(), self._world.Get_group()
        return list(group.Translate_ranks(list(range(self._n_nodes)), world))

    def _wait(self, done: Callable[[], bool], missing: Callable[[], list[int]], extra: float = 0.0) -> None:
        """Wait until something is done, or raise RankFailed, from then on in every operation."""
        try:
            self._wait_or_raise(done, missing, self.timeout + extra)
        except RankFailed as error:
            self.broken = error
            raise

    def _wait_or_raise(self, done: Callable[[], bool], missing: Callable[[], list[int]], timeout: float) -> None:
        for _ in range(MAX_POLLS):
            if done():
                return
        begin = looked = time.monotonic()
        while not done():
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            if failed := self._memory.failure(self._n_waits):
                raise failed
            if now - looked > 0.2:
                looked = now
                if (dead := self._memory.dead()) and not done():
                    raise rank_failed(dead, "ended")
            if now - begin > timeout:
                late = missing()
                if done():  # the last one came just now
                    return
                raise rank_failed(late, f"did not answer for {self.timeout:g} s")


class _SharedMemory:
    """Memory that the ranks of a machine share: their numbers, messages of errors, and room for arrays."""

    def __init__(self, mpi: Any, node: Any, rank: int):
        self._size, self._mine = node.Get_size(), node.Get_rank()
        n_head, n_data = self._size * (8 * N_NUMBERS + N_TEXT), 2 * (self._size + 1) * BLOCK
        self._window = mpi.Win.Allocate_shared((n_head + n_data) * (self._mine == 0), 1, comm=node)
        self._window.Lock_all(mpi.MODE_NOCHECK)
        buffer, _ = self._window.Shared_query(0)
        head, data = np.split(np.frombuffer(buffer, np.uint8), [n_head])
        self._numbers = head[: self._size * 8 * N_NUMBERS].view(np.int64).reshape(self._size, N_NUMBERS)
        self._texts = head[self._size * 8 * N_NUMBERS :].reshape(self._size, N_TEXT)
        self._data, self._buffer = data.reshape(2, self._size + 1, BLOCK), 0
        if self._mine == 0:
            self._numbers[...] = 0
        node.Barrier()
        self._numbers[self._mine, PID], self._numbers[self._mine, WORLD_RANK] = os.getpid(), rank
        self._same_pids = len({*node.allgather(_pid_namespace())}) == 1
        self._counters: Any = memoryview(self._numbers.reshape(-1))  # type: ignore[arg-type]  # faster to index
        node.Barrier()

    def arrays(self, like: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """
        Return a flat array for each rank, and one for the result.

        There are two sets, in turn: a rank may fill the next one while another still reads.
        """
        self._buffer ^= 1
        views = [row[: like.nbytes].view(like.dtype) for row in self._data[self._buffer]]
        return views[:-1], views[-1]

    def arrive(self, mine: int, n: int, operation: int) -> None:
        """Say that this rank has come to its n-th meeting; what it wrote before is visible then."""
        self._counters[mine * N_NUMBERS + OPERATION + n % 2] = operation
        self._window.Sync()
        self._counters[mine * N_NUMBERS + ARRIVED] = n

    def all_arrived(self, n: int) -> bool:
        """Whether all ranks have come to their n-th meeting."""
        counters = self._counters
        for i in range(ARRIVED, len(counters), N_NUMBERS):
            if counters[i] < n:
                return False
        self._window.Sync()
        return True

    def all_agree(self, n: int) -> bool:
        """Whether all ranks have come to their n-th meeting for the same operation."""
        return len({*self._counters[OPERATION + n % 2 :: N_NUMBERS]}) == 1

    def missing(self, n: int) -> list[int]:
        """Return the ranks that have not come to their n-th meeting."""
        return [int(row[WORLD_RANK]) for row in self._numbers if row[ARRIVED] < n]

    def dead(self) -> list[int]:
        """Return the ranks whose processes have ended."""
        if not self._same_pids:
            return []
        return [int(row[WORLD_RANK]) for row in self._numbers if not _is_alive(int(row[PID]))]

    def write_failure(self, mine: int, error: BaseException) -> None:
        """Leave the message of an error for the others."""
        name = "" if isinstance(error, RankFailed) else f"failed with {type(error).__name__}: "
        text = f"{name}{error}".encode()[:N_TEXT]
        self._texts[mine, : len(text)] = np.frombuffer(text, np.uint8)
        self._window.Sync()
        self._numbers[mine, FAILED] = -len(text) if isinstance(error, RankFailed) else len(text)

    def failure(self, n: int) -> RankFailed | None:
        """
        Return the error of a rank that has not come to its n-th meeting; one that has come has caught its error.

        The cause goes before what followed from it.
        """
        lengths = np.where(self._numbers[:, ARRIVED] < n, self._numbers[:, FAILED], 0)
        if not lengths.any():
            return None
        first = int(np.argmax(lengths)) if lengths.max() > 0 else int(np.argmin(lengths))
        text = bytes(self._texts[first, : abs(int(lengths[first]))]).decode(errors="replace")
        return rank_failed([int(self._numbers[first, WORLD_RANK])], text) if lengths[first] > 0 else RankFailed(text)


def _is_alive(pid: int) -> bool:
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


def _import_mpi() -> Any:
    """Import mpi4py, which must not wait for lost ranks when the process ends."""
    try:
        import mpi4py
    except ImportError as error:
        raise ImportError("several ranks need mpi4py: pip install mpi4py mpich") from error
    mpi4py.rc.finalize = False
    from mpi4py import MPI as mpi  # noqa: N811

    if not communicators:
        atexit.register(_finish, mpi)
    return mpi


def _finish(mpi: Any) -> None:
    """End MPI; after a failure let the others write their messages, and then end them."""
    if any(communicator.broken for communicator in communicators):
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(1.0)
        mpi.COMM_WORLD.Abort(1)
    elif mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()
