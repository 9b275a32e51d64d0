"""
Ranks that exchange arrays of a GPU, with stand-ins for CuPy and NCCL.

The stand-ins add up memory of the host at the addresses that they are given. They cannot show whether a sum is ordered
in its stream; that needs GPUs.
"""

import ctypes
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.distributed import NCCL, Communicator, RankFailed, run_threads
from portanet.distributed.nccl import on_device


class DeviceArray:
    """What NCCL is told of an array of CuPy."""

    def __init__(self, array: np.ndarray):
        self.array, self.dtype, self.size, self.flags = array, array.dtype, array.size, array.flags
        self.data = SimpleNamespace(ptr=array.ctypes.data)


class Event:
    """The sum before is always complete, unless ``ready`` is False."""

    ready = True

    def __init__(self, disable_timing: bool):
        assert disable_timing

    @property
    def done(self) -> bool:
        return self.ready

    def record(self, stream: Any) -> None:
        assert stream.ptr == 7


class Device(nullcontext[None]):
    pci_bus_id = "0000:01:00.0"


def stand_in(host: Callable[[int], Communicator], aborted: list[int]) -> tuple[ModuleType, ModuleType]:
    class NcclCommunicator:
        def __init__(self, n: int, identifier: bytes, rank: int):
            assert identifier == b"id"
            self.rank, self.n = rank, n

        def allReduce(self, *call: int) -> None:
            source, target, n, kind, operation, stream = call
            assert (source, operation, stream) == (target, 0, 7)
            number = {7: ctypes.c_float, 8: ctypes.c_double}[kind]
            host(self.rank).all_reduce_host(np.ctypeslib.as_array(ctypes.cast(target, ctypes.POINTER(number)), (n,)))

        def abort(self) -> None:
            aborted.append(self.rank)

    nccl = ModuleType("cupy.cuda.nccl")
    vars(nccl).update(
        available=True,
        get_unique_id=lambda: b"id",
        NcclCommunicator=NcclCommunicator,
        NCCL_SUM=0,
        NCCL_FLOAT32=7,
        NCCL_FLOAT64=8,
    )
    cupy = ModuleType("cupy")
    cuda = SimpleNamespace(
        nccl=nccl, Event=Event, get_current_stream=lambda: SimpleNamespace(ptr=7), Device=lambda *index: Device()
    )
    vars(cupy).update(cuda=cuda)
    return cupy, nccl


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, Communicator], list[int]]:
    found: dict[int, Communicator] = {}
    aborted: list[int] = []
    cupy, nccl = stand_in(found.__getitem__, aborted)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)
    return found, aborted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_a_device_are_added_up_by_nccl(hosts: Any, dtype: str) -> None:
    def task(host: Communicator) -> np.ndarray:
        hosts[0][host.rank] = host
        ranks = NCCL(host)
        array = np.full(5, 1.0 + host.rank, dtype)
        ranks.all_reduce(DeviceArray(array))
        assert ranks.all_gather(ranks.rank) == [0, 1, 2]
        return array

    for array in run_threads(task, 3):
        np.testing.assert_array_equal(array, np.full(5, 6.0, dtype))


def test_arrays_of_the_host_go_through_the_host(hosts: Any) -> None:
    def task(host: Communicator) -> np.ndarray:
        array = np.full(2, host.rank)
        NCCL(host).all_reduce(array)
        return array

    np.testing.assert_array_equal(run_threads(task, 2)[0], [1, 1])


def test_a_sum_that_does_not_end_is_given_up_and_the_lost_rank_is_named(hosts: Any, monkeypatch: Any) -> None:
    def task(host: Communicator) -> None:
        hosts[0][host.rank] = host
        ranks = NCCL(host)
        host.timeout = 0.05
        ranks.all_reduce(DeviceArray(np.ones(2, "float32")))
        if host.rank == 1:
            return  # it is lost
        monkeypatch.setattr(Event, "ready", False)
        ranks.barrier()

    with pytest.raises(RankFailed, match="rank 1 did not answer"):
        run_threads(task, 2, timeout=2.0)
    assert hosts[1] == [0]


def test_after_a_sum_that_did_not_end_every_operation_fails(hosts: Any, monkeypatch: Any) -> None:
    def task(host: Communicator) -> list[str]:
        hosts[0][host.rank] = host
        ranks = NCCL(host)
        host.timeout, errors = 0.05, []
        ranks.all_reduce(DeviceArray(np.ones(2, "float32")))
        host.barrier()
        monkeypatch.setattr(Event, "ready", False)
        for _ in range(2):
            with pytest.raises(RankFailed) as error:
                ranks.barrier()
            errors.append(str(error.value))
        return errors

    for first, second in run_threads(task, 2):
        assert first == second
        assert "NCCL did not answer for 0.05 s: set NCCL_DEBUG=INFO" in first
    assert sorted(hosts[1]) == [0, 1]


def test_a_pickle_is_the_ranks_of_the_process_that_reads_it(hosts: Any) -> None:
    assert isinstance(pickle.loads(pickle.dumps(run_threads(NCCL, 1)[0])), pn.distributed.Local)


def test_the_device_of_the_network_is_the_current_one(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names, active = iter(["a", "b"]), []
    monkeypatch.setattr("portanet.distributed.nccl.socket.gethostname", lambda: next(names))

    @contextmanager
    def activate() -> Iterator[None]:
        active.append("on")
        yield
        active.append("off")

    gpu = replace(pn.get_backend("cpu"), name="cuda:1", activate=activate)
    monkeypatch.setattr(NCCL, "__init__", lambda self, host: active.append("made"))
    run_threads(lambda host: on_device(host, gpu) and None, 2)
    assert active.count("made") == 2
    assert active[0] == "on"
    assert active[-1] == "off"


def test_ranks_that_share_a_gpu_exchange_through_the_host(hosts: Any, caplog: pytest.LogCaptureFixture) -> None:
    gpu = replace(pn.get_backend("cpu"), name="cuda:0")
    assert all(run_threads(lambda host: on_device(host, gpu) is host, 2))
    assert "gradients go through the host, because several ranks share a GPU" in caplog.text


def test_ranks_with_a_gpu_each_exchange_by_nccl(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["a", "b"])
    monkeypatch.setattr("portanet.distributed.nccl.socket.gethostname", lambda: next(names))
    gpu = replace(pn.get_backend("cpu"), name="cuda:0")
    kinds = run_threads(lambda host: type(on_device(host, gpu)).__name__, 2)
    assert kinds == ["NCCL", "NCCL"]


@pytest.mark.parametrize("name", ["cpu", "cuda:0"])
def test_one_process_needs_no_nccl(name: str) -> None:
    alone = pn.distributed.Local()
    assert on_device(alone, replace(pn.get_backend("cpu"), name=name)) is alone
