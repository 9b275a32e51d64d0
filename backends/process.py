"""
The process that NumPy computes in: how many threads its BLAS has, and memory that stays with it.

Both are asked of the C libraries through ctypes; where one does not answer, all is as it was.
"""

import ctypes
import threading
from importlib import import_module
from types import TracebackType
from typing import Any

import numpy as np

_SETTERS = {
    "scipy_openblas_set_num_threads64_": "scipy_openblas_get_num_threads64_",  # NumPy's wheels
    "scipy_openblas_set_num_threads": "scipy_openblas_get_num_threads",
    "openblas_set_num_threads64_": "openblas_get_num_threads64_",
    "openblas_set_num_threads": "openblas_get_num_threads",
    "MKL_Set_Num_Threads": "MKL_Get_Max_Threads",
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_memory() -> None:
    """
    Ask glibc to keep up to 1 GiB that is freed, rather than to hand it back and fetch it again at every step.

    Fresh memory costs a page fault for each 4 KiB: for arrays of megabytes, more than the arithmetic on them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if hasattr(ctypes, "CDLL") else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def _find_blas() -> tuple[Any, Any] | None:
    try:
        # A look-up in NumPy's own library sees the BLAS that it is linked with.
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None
    for setter, getter in _SETTERS.items():
        if hasattr(library, setter):
            return getattr(library, setter), getattr(library, getter)
    return None


class Blas:
    """The threads of the BLAS that NumPy is linked with."""

    def __init__(self) -> None:
        self._functions = _find_blas()
        self._lock = threading.Lock()
        self._takers = 0
        self._given = 1

    @property
    def threads(self) -> int:
        """How many the user gives it; 1 where it does not say."""
        if self._functions is None:
            return 1
        return self._given if self._takers else self._functions[1]()

    def take(self) -> None:
        """Leave it one thread, until as many calls of :meth:`give_back`."""
        if self._functions is None:
            return
        with self._lock:
            if not self._takers:
                self._given = self._functions[1]()
                self._functions[0](1)
            self._takers += 1

    def give_back(self) -> None:
        """Undo one :meth:`take`."""
        if self._functions is None:
            return
        with self._lock:
            self._takers -= 1
            if not self._takers:
                self._functions[0](self._given)


blas = Blas()


class _Thread(threading.local):
    """How deep in activities a thread is, and what the outermost one holds."""

    depth = 0
    took = False
    errors: Any = None


_thread = _Thread()


class Activity:
    """
    The context in which networks compute with NumPy: overflow is silent, as on a GPU.

    What :meth:`take_threads` takes from BLAS comes back at the end of the outermost one.
    """

    def __enter__(self) -> "Activity":
        if not _thread.depth:
            _thread.errors = np.errstate(over="ignore", invalid="ignore", divide="ignore")
            _thread.errors.__enter__()
        _thread.depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.depth -= 1
        if not _thread.depth:
            _thread.errors.__exit__(kind, error, trace)
            if _thread.took:
                _thread.took = False
                blas.give_back()

    def take_threads(self) -> None:
        """From now on BLAS has one thread, and the others are the caller's."""
        if not _thread.took:
            blas.take()
            _thread.took = True
