"""
Ranks that a launcher such as ``torchrun`` starts, joined by TCP.

The launcher sets ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``. Every rank sends its
values to rank 0, which combines them and sends the result back. This suits numbers and small arrays: large gradients
belong to NCCL or MPI.
"""

import os
import pickle
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any

import numpy as np

from portanet.checks import check_number
from portanet.distributed.base import TIMEOUT, RankFailed, different_operations, rank_failed, sum_in_order
from portanet.distributed.cores import share_cores, usable_cores
from portanet.distributed.launch import RANK_PID
from portanet.distributed.processes import ProcessCommunicator, report_uncaught_errors
from portanet.distributed.within import ends_within

KEY = "PORTANET_AUTHKEY"
"""Variable with the secret by which the ranks know one another."""

ROOT_SECONDS = 5.0
"""Seconds that a rank waits longer for rank 0 than that waits for the others: rank 0 names the one that is lost."""

RETRY_SECONDS = 0.05

N_ACCEPTING = 4
"""Threads in which rank 0 accepts the others: a program that connects and says nothing takes up one of them."""

JOIN = "start all ranks with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and each with a RANK of its own"
"""What to do where ranks do not find one another."""


class TCP(ProcessCommunicator):
    """
    The ranks of the variables ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    What the ranks send is unpickled, so that they must trust one another. They prove that they know the secret of the
    variable ``PORTANET_AUTHKEY``. It is needed where the ranks run on several machines; on one machine, rank 0 listens
    to this machine only.

    Parameters
    ----------
    timeout : float
        Seconds after which a rank that has not joined an operation counts as lost.

    Raises
    ------
    RuntimeError
        If a variable is missing or wrong, or the port is taken.
    RankFailed
        If not all ranks come within the timeout.
    """

    def __init__(self, *, timeout: float = TIMEOUT):
        self.timeout = check_number("timeout", timeout, above=0)
        self.rank, self.size = _variable("RANK"), _variable("WORLD_SIZE")
        self.local_rank = _variable("LOCAL_RANK", self.rank)
        if self.rank >= self.size:
            raise RuntimeError(f"RANK is {self.rank}, but WORLD_SIZE is {self.size}: number the ranks from 0")
        address, key = _address(self.size), os.environ.get(KEY, "portanet").encode()
        if self.rank == 0:
            self._others = _accept(address, key, self.size, self.timeout)
        else:
            self._root = _connect(address, key, self.rank, self.size, self.timeout)
        os.environ[RANK_PID] = str(os.getpid())  # processes that this one starts are no ranks
        report_uncaught_errors(self)
        host = socket.gethostname()
        share_cores([cores for other, cores in self.all_gather((host, usable_cores()), "the cores") if other == host])

    def all_reduce_host(self, array: np.ndarray) -> None:
        array[...] = self._exchange(f"all_reduce of {array.dtype}, shape {array.shape}", array, _sum)

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        values: list[Any] = self._exchange(f"all_gather of {what}", value, list)
        return values

    def send_error(self, error: BaseException) -> None:
        failed = error
        if not isinstance(error, RankFailed):
            failed = rank_failed([self.rank], f"failed with {type(error).__name__}: {error}")
        with suppress(OSError):  # who is told may be gone
            if self.rank:
                self._root.send(failed)
            else:
                self._answer(failed)

    def _exchange(self, operation: str, value: Any, combine: Callable[[list[Any]], Any]) -> Any:
        """Send rank 0 the values of all ranks, and return what it makes of them."""
        if self.broken is not None:
            raise self.broken
        try:
            result = self._collect(operation, value, combine) if self.rank == 0 else self._ask(operation, value)
        except RankFailed as error:
            self.broken = error
            if self.rank == 0:
                self._answer(error)
            raise
        except Exception as error:  # values that cannot be combined
            self.send_error(error)
            raise
        if isinstance(result, Exception):
            self.broken = result if isinstance(result, RankFailed) else None
            raise result
        return result

    def _collect(self, operation: str, value: Any, combine: Callable[[list[Any]], Any]) -> Any:
        """Combine the values of all ranks, in their order, and answer the others."""
        values, operations = {0: value}, {operation}
        missing, begin, told = dict(self._others), time.monotonic(), False
        while missing:
            passed = time.monotonic() - begin
            ready = wait([*missing.values()], max(0.0, (self.timeout if told else self._patience) - passed))
            if not ready and told:
                raise rank_failed(sorted(missing), f"did not answer for {self.timeout:g} s")
            if not ready:  # those that wait for rank 0 would take it for the one that is lost
                told = True
                self._answer(Waiting(), [rank for rank in values if rank])
            for rank in [rank for rank, connection in missing.items() if connection in ready]:
                message = _receive(missing.pop(rank), rank)
                if isinstance(message, RankFailed):
                    raise message
                values[rank] = message[1]
                operations.add(message[0])
        different = len(operations) > 1
        result = different_operations(operations) if different else combine([values[i] for i in range(self.size)])
        self._answer(result)
        return result

    @property
    def _patience(self) -> float:
        """Seconds after which rank 0 tells the others that it waits."""
        return min(1.0, self.timeout / 4)

    def _answer(self, result: Any, ranks: Iterable[int] | None = None) -> None:
        content = pickle.dumps(result)
        for rank in self._others if ranks is None else ranks:
            with suppress(OSError):  # a rank that is gone is named when its next value is missing
                self._others[rank].send_bytes(content)

    def _ask(self, operation: str, value: Any) -> Any:
        with suppress(OSError):  # rank 0 may have said why it has gone
            self._root.send((operation, value))
        while True:
            if not self._root.poll(self.timeout + ROOT_SECONDS):
                raise rank_failed([0], f"did not answer for {self.timeout:g} s")
            if not isinstance(answer := _receive(self._root, 0), Waiting):
                return answer


class Waiting:
    """What rank 0 sends while it waits for others."""


def _sum(arrays: list[np.ndarray]) -> np.ndarray:
    total = np.empty_like(arrays[0])
    sum_in_order(arrays, total)
    return total


def _receive(connection: Connection, rank: int) -> Any:
    try:
        return connection.recv()
    except BlockingIOError:
        raise rank_failed([rank], "stopped within a message") from None
    except (EOFError, OSError):
        raise rank_failed([rank], "ended") from None


def _variable(name: str, default: int | None = None, *, at_least: int = 0, at_most: int = 2**31) -> int:
    """
    Return the number in a variable that the launcher sets.

    Examples
    --------
    >>> _variable("LOCAL_RANK", 0)
    0
    """
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal() or not at_least <= int(text) <= at_most:
        found = f"a whole number in [{at_least}, {at_most}], got {text!r}"
        raise RuntimeError(f"{name} must be {found}: start the ranks by torchrun, or set it")
    return int(text)


def _address(size: int) -> tuple[str, int]:
    """Return where rank 0 listens."""
    port = _variable("MASTER_PORT", 29500, at_least=1, at_most=65534)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        port += 1  # torchrun itself listens at MASTER_PORT
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    if host in ("127.0.0.1", "localhost") or _variable("LOCAL_WORLD_SIZE", 0) == size:
        return "127.0.0.1", port
    if not os.environ.get(KEY):
        fix = f"set {KEY} to the same random text on all machines"
        raise RuntimeError(f"ranks on several machines need a secret, because MASTER_ADDR is {host}: {fix}")
    return host, port


def _accept(address: tuple[str, int], key: bytes, size: int, timeout: float) -> dict[int, Connection]:
    """Wait for the other ranks, and tell them whether all fit together."""
    try:
        listener = Listener(address, backlog=size, authkey=key)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        raise RuntimeError(f"rank 0 cannot listen at {where} ({error}): set MASTER_ADDR and MASTER_PORT") from error
    come: list[tuple[Connection, int, int]] = []
    complete, over = threading.Event(), threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                connection = listener.accept()
                rank, n_ranks = connection.recv()
            except (AuthenticationError, EOFError, OSError):  # a stranger, or the end
                continue
            if over.is_set():
                connection.close()
                return
            come.append((connection, rank, n_ranks))
            if len(come) >= size - 1:
                complete.set()

    for _ in range(N_ACCEPTING):
        threading.Thread(target=accept, daemon=True).start()
    complete.wait(timeout)
    over.set()
    listener.close()
    ranks = [rank for _, rank, _ in come]
    refusal: Exception | None = None
    if wrong := [(rank, n) for _, rank, n in come if n != size]:
        refusal = RuntimeError(f"WORLD_SIZE is {size} at rank 0, and {wrong[0][1]} at rank {wrong[0][0]}: set it alike")
    elif twice := {rank for rank in ranks if ranks.count(rank) > 1}:
        refusal = RuntimeError(f"{ranks.count(min(twice))} processes have RANK={min(twice)}: number them from 0 on")
    elif not complete.is_set():
        missing = sorted({*range(1, size)} - {*ranks})
        refusal = rank_failed(missing, f"did not come to {address[0]}:{address[1]} within {timeout:g} s", JOIN)
    for connection, _, _ in come:
        with suppress(OSError):
            connection.send(refusal)
    if refusal is not None:
        raise refusal
    for connection, _, _ in come:
        _prepare(connection, timeout)
    return {rank: connection for connection, rank, _ in come}


def _connect(address: tuple[str, int], key: bytes, rank: int, size: int, timeout: float) -> Connection:
    """Wait for rank 0 to listen, and to find that all ranks have come."""
    end, found, reason = time.monotonic() + timeout, [], [""]

    def connect() -> None:
        try:
            found.append(Client(address, authkey=key))
        except (EOFError, OSError) as error:  # rank 0 does not listen yet
            reason[0] = f" ({error})"

    while not found and time.monotonic() < end:
        try:
            ends_within(end - time.monotonic(), connect)
        except AuthenticationError:
            raise RuntimeError(f"{KEY} of rank {rank} is not that of rank 0: set the same on all machines") from None
        time.sleep(RETRY_SECONDS)
    where = f"at {address[0]}:{address[1]}"
    if not found:
        raise rank_failed([0], f"did not listen {where} for {timeout:g} s{reason[0]}", JOIN)
    connection = found[0]
    connection.send((rank, size))
    if not connection.poll(timeout + ROOT_SECONDS):
        raise rank_failed([0], f"did not answer {where} for {timeout:g} s", JOIN)
    refusal = _receive(connection, 0)
    if refusal is not None:
        raise refusal
    _prepare(connection, timeout)
    return connection


def _prepare(connection: Connection, timeout: float) -> None:
    """Send small messages at once, and end a message that stops in the middle."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as shared:
        shared.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if os.name == "posix":
            seconds, rest = divmod(timeout, 1.0)
            limit = struct.pack("ll", int(seconds), int(rest * 1e6))
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
