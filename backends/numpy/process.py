"""
Settings of the process: the number of threads of NumPy's BLAS, and how much freed memory malloc keeps.

Both are set in the C libraries through ctypes. Where that is impossible (Windows, Accelerate on a Mac), nothing is
changed, and batches are not divided among threads.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

_SETTERS = {
    "scipy_openblas_set_num_threads64_": "scipy_openblas_get_num_threads64_",  # NumPy's wheels
    "scipy_openblas_set_num_threads": "scipy_openblas_get_num_threads",
    "openblas_set_num_threads64_": "openblas_get_num_threads64_",
    "openblas_set_num_threads": "openblas_get_num_threads",
    "MKL_Set_Num_Threads": "MKL_Get_Max_Threads",
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune_malloc() -> bool:
    """
    Make glibc keep up to 256 MiB of freed memory instead of returning it and fetching it again in every step.

    Fresh memory costs a page fault for each 4 KiB: for arrays of megabytes, more than the arithmetic on them. Arrays
    above 32 MiB, the largest threshold that every glibc accepts, are still returned. If the environment sets
    ``MALLOC_TRIM_THRESHOLD_`` or another variable of malloc, nothing is changed.

    Returns
    -------
    bool
        Whether the settings were changed.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, or one that is linked statically
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**25) and mallopt(_M_TRIM_THRESHOLD, 2**28))


class _Threads(NamedTuple):
    """Functions of a BLAS that set and return its number of threads."""

    set: Any
    get: Any


def _find_blas() -> _Threads | None:
    try:
        # A look-up in NumPy's own library sees the BLAS that it is linked with.
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None
    for setter, getter in _SETTERS.items():
        if hasattr(library, setter):
            return _Threads(getattr(library, setter), getattr(library, getter))
    return None


class Blas:
    """The threads of the BLAS that NumPy is linked with."""

    def __init__(self) -> None:
        self._functions = _find_blas()
        self._lock = threading.Lock()
        self._holders: set[int] = set()  # threads; acquiring is idempotent, an unmatched release does nothing
        self._user_threads = 1  # the user's setting, while acquired

    def after_fork(self) -> None:
        """Drop the holders that do not exist in a child process: only the thread that forked does."""
        self._lock = threading.Lock()
        me = {threading.get_ident()}
        if self._holders and not self._holders & me and self._functions is not None:
            self._functions.set(self._user_threads)
        self._holders &= me

    def get_threads(self) -> int:
        """Return the number that the user has set; 1 if BLAS cannot be asked."""
        return self.threads

    def set_threads(self, number: int) -> None:
        """Set the number, if BLAS can be told."""
        with self._lock:
            self._user_threads = number
            if self._functions is not None and not self._holders:
                self._functions.set(number)

    @property
    def threads(self) -> int:
        """The number that the user has set; 1 if BLAS cannot be asked."""
        if self._functions is None:
            return 1
        with self._lock:
            return self._user_threads if self._holders else self._functions.get()

    def acquire(self) -> None:
        """Leave BLAS one thread, until every thread that has acquired it releases it."""
        me = threading.get_ident()
        if self._functions is None or me in self._holders:
            return
        with self._lock:
            if not self._holders:
                self._user_threads = self._functions.get()
            self._holders.add(me)
            self._functions.set(1)

    @contextmanager
    def single_threaded(self) -> Iterator[None]:
        """Leave BLAS one thread inside the context: for many small products, each of which it would divide."""
        acquired_here = threading.get_ident() not in self._holders
        self.acquire()
        try:
            yield
        finally:
            if acquired_here:
                self.release()

    def reapply(self) -> None:
        """Leave BLAS one thread for this thread too, while it is acquired: OpenMP counts threads for each caller."""
        if self._functions is not None:
            with self._lock:
                if self._holders:
                    self._functions.set(1)

    def release(self) -> None:
        """Undo :meth:`acquire` of this thread; a setting that the user has made meanwhile stays."""
        me = threading.get_ident()
        if self._functions is None or me not in self._holders:
            return
        with self._lock:
            if self._holders == {me} and self._functions.get() == 1:
                self._functions.set(self._user_threads)
            self._holders.discard(me)


blas = Blas()


class _Thread(threading.local):
    """The ids of the contexts a thread has entered; each removes its own, even if an interruption skips its exit."""

    def __init__(self) -> None:
        self.contexts: set[int] = set()


_thread = _Thread()


class ComputeContext:
    """
    The context in which networks compute with NumPy: overflow is silent, as on a GPU.

    When a thread leaves its outermost context, it releases the threads of BLAS that it has acquired.
    """

    __slots__ = ("_contexts", "_errors")

    def __init__(self) -> None:
        self._contexts = _thread.contexts

    def __enter__(self) -> "ComputeContext":
        self._errors = _silence()
        self._contexts.add(id(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        contexts = self._contexts
        contexts.discard(id(self))
        if not contexts:
            blas.release()
        _restore(self._errors)

    def __del__(self) -> None:
        self._contexts.discard(id(self))


_umath: Any = import_module("numpy._core._multiarray_umath")
_error_state: Any = getattr(_umath, "_extobj_contextvar", None)
_silenced: tuple[Any, Any] = (None, None)  # the error state of the last caller, and the same with silent overflow
_inner = nullcontext()

if _error_state is not None:
    # NumPy's own variable, which np.errstate sets too but in 1 µs: a tenth of the inference of one example.
    _restore = _error_state.reset

    def _silence() -> Any:
        global _silenced
        caller, silenced = _error_state.get(), _silenced
        if caller is not silenced[0]:
            _silenced = silenced = caller, _umath._make_extobj(over="ignore", invalid="ignore", divide="ignore")
        return _error_state.set(silenced[1])

    def compute_context() -> AbstractContextManager[Any]:
        """Return a :class:`ComputeContext`; within one, a context that does nothing and costs 0.3 µs, not 0.8."""
        return _inner if _thread.contexts and _error_state.get() is _silenced[1] else ComputeContext()

else:
    compute_context = ComputeContext

    def _silence() -> Any:
        errors = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        errors.__enter__()
        return errors

    def _restore(errors: Any) -> None:
        errors.__exit__(None, None, None)


def overflow_is_silent() -> bool:
    """Whether a compute context is in force; False if only a slow look could tell."""
    return _error_state is not None and _error_state.get() is _silenced[1]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=blas.after_fork)
