"""Settings of the process that NumPy runs in are made and undone."""

import os
import threading
from contextvars import copy_context
from importlib.util import module_from_spec, spec_from_file_location
from platform import libc_ver
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from portanet.backends.numpy import process
from portanet.backends.numpy.process import Blas, ComputeContext, tune_malloc


@pytest.fixture
def blas() -> Blas:
    """A handle of its own on NumPy's BLAS."""
    found = Blas()
    if found.threads < 2:
        pytest.skip("NumPy's BLAS has one thread, or does not say how many")
    return found


def functions(blas: Blas) -> process._Threads:
    assert blas._functions is not None
    return blas._functions


def test_blas_has_one_thread_until_every_holder_has_released_it(blas: Blas) -> None:
    user_threads = blas.threads
    raw = functions(blas).get

    def other_thread() -> None:
        for step in (blas.acquire, taken.set, free.wait, blas.release):
            step()

    taken, free = threading.Event(), threading.Event()
    other = threading.Thread(target=other_thread)
    other.start()
    taken.wait()
    blas.acquire()
    assert (raw(), blas.threads) == (1, user_threads)
    blas.release()
    assert raw() == 1
    free.set()
    other.join()
    assert raw() == user_threads


def test_release_without_acquire_is_a_no_op(blas: Blas) -> None:
    user_threads, raw = blas.threads, functions(blas).get
    blas.release()
    blas.acquire()
    blas.release()
    blas.release()
    assert raw() == user_threads


def test_threads_that_the_user_sets_meanwhile_stay(blas: Blas) -> None:
    user_threads, (setter, raw) = blas.threads, functions(blas)
    blas.acquire()
    setter(user_threads + 1)
    blas.release()
    assert raw() == user_threads + 1
    setter(user_threads)


def test_a_blas_that_cannot_be_asked_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portanet.backends.numpy.process._find_blas", lambda: None)
    unknown = Blas()
    unknown.acquire()
    unknown.release()
    assert unknown.threads == 1


def test_leaving_the_outermost_context_releases_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Fake:
        def acquire(self) -> None:
            calls.append("acquire")

        def release(self) -> None:
            calls.append("release")

    monkeypatch.setattr("portanet.backends.numpy.process.blas", Fake())
    with ComputeContext():
        with ComputeContext():
            process.blas.acquire()
        assert "release" not in calls
    assert calls[-1] == "release"


def test_contexts_may_be_left_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    monkeypatch.setattr("portanet.backends.numpy.process.blas", SimpleNamespace(release=lambda: released.append(1)))
    first, second = ComputeContext(), ComputeContext()
    for context in (first, second):
        context.__enter__()
    first.__exit__(None, None, None)
    assert not released
    second.__exit__(None, None, None)
    assert released


def test_a_context_that_an_interruption_never_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    monkeypatch.setattr("portanet.backends.numpy.process.blas", SimpleNamespace(release=lambda: released.append(1)))
    with np.errstate():
        ComputeContext().__enter__()  # and an interruption on entering its __exit__
        with ComputeContext():
            pass
    assert released


def test_overflow_is_silent_within_and_as_before_after() -> None:
    with np.errstate(over="raise"):
        with ComputeContext(), ComputeContext():
            np.exp(np.asarray([1000.0]))
        with pytest.raises(FloatingPointError):
            np.exp(np.asarray([1000.0]))


def test_contexts_of_threads_are_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    releasers = []
    fake = SimpleNamespace(acquire=lambda: None, release=lambda: releasers.append(threading.current_thread().name))
    monkeypatch.setattr("portanet.backends.numpy.process.blas", fake)

    def other() -> None:
        with ComputeContext():
            pass

    with ComputeContext():
        thread = threading.Thread(target=other, name="other")
        thread.start()
        thread.join()
        assert releasers == ["other"]
    assert releasers == ["other", threading.current_thread().name]


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


def test_a_context_within_another_does_nothing_unless_the_thread_is_new() -> None:
    with process.compute_context():
        assert process.compute_context() is process.compute_context()
        found: list[Any] = []
        thread = threading.Thread(target=copy_context().run, args=(lambda: found.append(process.compute_context()),))
        thread.start()
        thread.join()
        assert isinstance(found[0], ComputeContext)  # which gives BLAS its threads back
    assert isinstance(process.compute_context(), ComputeContext)


def test_many_small_products_have_one_thread_and_give_back_what_they_took(blas: Blas) -> None:
    user_threads, raw = blas.threads, functions(blas).get
    with blas.single_threaded():
        assert raw() == 1
    assert raw() == user_threads
    blas.acquire()
    with blas.single_threaded():
        assert raw() == 1
    assert raw() == 1  # it was taken before, and stays so
    blas.release()
    assert raw() == user_threads


def test_a_child_process_has_threads_again_if_another_thread_took_them(blas: Blas) -> None:
    user_threads, raw = blas.threads, functions(blas).get
    thread = threading.Thread(target=blas.acquire)
    thread.start()
    thread.join()
    assert raw() == 1
    blas.after_fork()
    assert (raw(), blas.threads) == (user_threads, user_threads)


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
