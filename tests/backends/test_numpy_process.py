"""Settings of the process that NumPy runs in are made and undone."""

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from platform import libc_ver
from types import FrameType
from typing import Any

import numpy as np
import pytest

from portanet.backends.numpy import process
from portanet.backends.numpy.process import Blas, ComputeContext, tune_malloc


@pytest.fixture
def blas() -> Blas:
    """A handle of its own on NumPy's BLAS."""
    found = Blas()
    if found.get_num_threads() < 2:
        pytest.skip("NumPy's BLAS has one thread, or does not say how many")
    return found


def functions(blas: Blas) -> process._ThreadFunctions:
    assert blas._functions is not None
    return blas._functions


def test_overflow_is_silent_within_and_as_before_after() -> None:
    with np.errstate(over="raise"):
        with ComputeContext(), ComputeContext():
            np.exp(np.asarray([1000.0]))
        with pytest.raises(FloatingPointError):
            np.exp(np.asarray([1000.0]))


def test_errors_that_a_caller_asks_for_within_are_silent_further_within() -> None:
    with ComputeContext(), np.errstate(over="raise"), ComputeContext():
        np.exp(np.asarray([1000.0]))


@pytest.mark.parametrize("numpy_has_the_variable", [True, False])
def test_nested_contexts_are_silent_whatever_a_caller_asks_for_between(
    numpy_has_the_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = process
    if not numpy_has_the_variable:
        monkeypatch.delattr(process._umath, "_extobj_contextvar")
        spec = spec_from_file_location("process_of_another_numpy", str(process.__file__))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    overflow, underflow = np.asarray([1000.0]), np.asarray([-1000.0])
    with np.errstate(all="raise"):
        with module.compute_context():
            for between in ("raise", "ignore"):
                with module.compute_context(), np.errstate(over=between), module.compute_context():
                    np.exp(overflow)
                    with pytest.raises(FloatingPointError):
                        np.exp(underflow)  # a caller's other settings stay
        with pytest.raises(FloatingPointError):
            np.exp(overflow)


@pytest.mark.skipif(libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_glibc_agrees_to_keep_memory_unless_its_user_has_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    assert tune_malloc()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not tune_malloc()


def test_no_other_system_is_asked_to_keep_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert not tune_malloc()


def test_blas_has_one_thread_until_the_last_context_is_left(blas: Blas) -> None:
    user_threads, raw = blas.get_num_threads(), functions(blas).get
    with blas.single_threaded():
        with blas.single_threaded():
            assert (raw(), blas.get_num_threads()) == (1, user_threads)
        assert raw() == 1
    assert raw() == user_threads


def test_threads_that_the_user_sets_meanwhile_stay(blas: Blas) -> None:
    user_threads, raw = blas.get_num_threads(), functions(blas).get
    with blas.single_threaded():
        blas.set_num_threads(user_threads + 1)
        assert raw() == 1
    assert raw() == blas.get_num_threads() == user_threads + 1
    blas.set_num_threads(user_threads)
    assert raw() == user_threads


def test_a_blas_that_cannot_be_asked_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portanet.backends.numpy.process._find_blas", lambda: None)
    unknown = Blas()
    unknown.set_num_threads(3)
    with unknown.single_threaded():
        pass
    assert unknown.get_num_threads() == 1


def test_a_child_process_has_all_threads_even_if_it_was_forked_within_a_context(blas: Blas) -> None:
    user_threads, raw = blas.get_num_threads(), functions(blas).get
    with blas.single_threaded():
        blas.after_fork()
        assert (raw(), blas.get_num_threads()) == (user_threads, user_threads)
    assert raw() == user_threads


def test_a_context_within_another_does_nothing() -> None:
    with process.compute_context():
        assert process.compute_context() is process.compute_context()
    assert isinstance(process.compute_context(), ComputeContext)


@pytest.fixture
def interrupted_after() -> Iterator[Callable[[str], None]]:
    """Raise KeyboardInterrupt just after the next call of a C function of some name: where Python handles signals."""

    def interrupt(name: str) -> None:
        def profile(frame: FrameType, event: str, called: Any) -> None:
            if event == "c_return" and getattr(called, "__name__", "") == name:
                sys.setprofile(None)
                raise KeyboardInterrupt

        sys.setprofile(profile)

    yield interrupt
    sys.setprofile(None)


def test_an_interrupt_on_the_way_into_a_context_leaves_numpys_errors_as_they_were(
    interrupted_after: Callable[[str], None],
) -> None:
    with np.errstate(over="raise", invalid="warn"):
        before = np.geterr()
        interrupted_after("set")
        with pytest.raises(KeyboardInterrupt), ComputeContext():
            pass
        assert np.geterr() == before


def test_an_interrupt_on_the_way_into_a_context_leaves_blas_its_threads(
    blas: Blas, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_threads, raw = blas.get_num_threads(), functions(blas).get
    calls: list[int] = []

    def interrupted(number: int) -> None:
        before.set(number)
        calls.append(number)
        if len(calls) == 1:
            raise KeyboardInterrupt

    before = functions(blas)
    monkeypatch.setattr(blas, "_functions", process._ThreadFunctions(interrupted, before.get))
    with pytest.raises(KeyboardInterrupt), blas.single_threaded():
        pass
    assert (raw(), blas.get_num_threads(), blas._n_limiting) == (user_threads, user_threads, 0)


@pytest.mark.skipif(libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_glibc_is_left_alone_where_it_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portanet.backends.disabled.DISABLED", frozenset({"malloc"}))
    assert not tune_malloc()
