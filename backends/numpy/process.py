"""
The process that NumPy computes in: how many threads its BLAS has, and memory that stays with it.

Both are asked of the C libraries through ctypes; where one does not answer, all is as it was. So it is on Windows, and
with Accelerate on a Mac: batches are not shared out to cores there.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple
from weakref import ref

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
    Ask glibc to keep up to 256 MiB that is freed, rather than to hand it back and fetch it again at every step.

    Fresh memory costs a page fault for each 4 KiB: for arrays of megabytes, more than the arithmetic on them. Arrays
    above 32 MiB, the most that every glibc takes, go back as ever. Whoever sets ``MALLOC_TRIM_THRESHOLD_``, or another
    variable of malloc, is left alone.

    Returns
    -------
    bool
        Whether it was asked and agreed.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, or a static one
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**25) and mallopt(_M_TRIM_THRESHOLD, 2**28))


class _Threads(NamedTuple):
    """Functions of a BLAS that set and tell how many threads it has."""

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
        # By thread, and a set: to take twice is to take once, and what was not taken is not given back.
        self._takers: set[int] = set()
        self._given = 1  # what the user gives it, while it is taken

    def after_fork(self) -> None:
        """Leave it to the thread that forked, the only one in a child process, whether it is taken."""
        self._lock = threading.Lock()
        me = {threading.get_ident()}
        if self._takers and not self._takers & me and self._functions is not None:
            self._functions.set(self._given)
        self._takers &= me

    @property
    def threads(self) -> int:
        """How many the user gives it; 1 where it does not say."""
        if self._functions is None:
            return 1
        with self._lock:
            return self._given if self._takers else self._functions.get()

    def acquire(self) -> None:
        """Leave it one thread, until :meth:`give_back` by this thread, and by all others that took it."""
        me = threading.get_ident()
        if self._functions is None or me in self._takers:
            return
        with self._lock:
            if not self._takers:
                self._given = self._functions.get()
            self._takers.add(me)
            self._functions.set(1)

    @contextmanager
    def single_threaded(self) -> Iterator[None]:
        """Leave it one thread within: for many small products, which it would divide each."""
        mine = threading.get_ident() not in self._takers
        self.acquire()
        try:
            yield
        finally:
            if mine:
                self.release()

    def reapply(self) -> None:
        """While it is taken, leave it one thread for this caller too: OpenMP counts threads for each."""
        if self._functions is not None:
            with self._lock:
                if self._takers:
                    self._functions.set(1)

    def release(self) -> None:
        """Undo :meth:`acquire`, if this thread took it; what the user has set meanwhile stays."""
        me = threading.get_ident()
        if self._functions is None or me not in self._takers:
            return
        with self._lock:
            if self._takers == {me} and self._functions.get() == 1:
                self._functions.set(self._given)
            self._takers.discard(me)


blas = Blas()


class _Thread(threading.local):
    """Activities that a thread is in, by weak references: one that was lost, to an interruption at its end, is none."""

    def __init__(self) -> None:
        self.activities: set[ref[ComputeContext]] = set()


_thread = _Thread()


class ComputeContext:
    """
    The context in which networks compute with NumPy: overflow is silent, as on a GPU.

    What :meth:`take_threads` takes from BLAS comes back when a thread is in none any more.
    """

    def __enter__(self) -> "ComputeContext":
        self._errors = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        self._errors.__enter__()
        activities = _thread.activities
        self._self = ref(self, activities.discard)
        activities.add(self._self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.activities.discard(self._self)
        if not _thread.activities:
            blas.release()
        self._errors.__exit__(kind, error, trace)

    def take_threads(self) -> None:
        """From now on BLAS has one thread, and the others are the caller's."""
        blas.acquire()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=blas.after_fork)
