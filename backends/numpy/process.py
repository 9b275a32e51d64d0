"""
Settings of the process: the number of threads of NumPy's BLAS, and how much freed memory malloc keeps.

Both are set in the C libraries through ctypes. Where that is impossible (Windows, Accelerate on a Mac), nothing is
changed.
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

from portanet.backends.base import SILENT
from portanet.backends.disabled import enabled

_SETTERS = {
    "scipy_openblas_set_num_threads64_": "scipy_openblas_get_num_threads64_",  # NumPy's wheels
    "scipy_openblas_set_num_threads": "scipy_openblas_get_num_threads",
    "openblas_set_num_threads64_": "openblas_get_num_threads64_",
    "openblas_set_num_threads": "openblas_get_num_threads",
    "MKL_Set_Num_Threads": "MKL_Get_Max_Threads",
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MAX_FREE_BYTES, MAX_ARRAY_BYTES = 2**28, 2**25
"""How much freed memory malloc keeps, and the largest array that it takes from it."""


def tune_malloc() -> bool:
    """
    Make glibc keep up to 256 MiB of freed memory instead of returning it and fetching it again in every step.

    Fresh memory costs a page fault for each 4 KiB: for arrays of megabytes, more than the arithmetic on them. Without
    it, training steps of 8 out of 10 convolutional networks of bench/ took 1.3 to 2.2 times as long, and those of two
    others and of three dense ones 0.96 to 1.04 times (``python -m bench mechanisms --mechanisms malloc``, two cores).

    Arrays above 32 MiB, the largest threshold that every glibc accepts, are still returned. The settings are those of
    the whole process, and glibc cannot tell what they were before. If the environment sets ``MALLOC_TRIM_THRESHOLD_``
    or another variable of malloc, or ``PORTANET_DISABLE`` names ``malloc``, nothing is changed.

    Returns
    -------
    bool
        Whether the settings were changed.
    """
    by_user = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if sys.platform != "linux" or by_user or not enabled("malloc"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, or one that is linked statically
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MAX_ARRAY_BYTES) and mallopt(_M_TRIM_THRESHOLD, MAX_FREE_BYTES))


class _ThreadFunctions(NamedTuple):
    """Functions of a BLAS that set and return its number of threads."""

    set: Any
    get: Any


def _find_blas() -> _ThreadFunctions | None:
    try:
        # A look-up in NumPy's own library sees the BLAS that it is linked with.
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None
    for setter, getter in _SETTERS.items():
        if hasattr(library, setter):
            return _ThreadFunctions(getattr(library, setter), getattr(library, getter))
    return None


class Blas:
    """The threads of the BLAS that NumPy is linked with."""

    def __init__(self) -> None:
        self._functions = _find_blas()
        self._lock = threading.Lock()
        self._n_limiting = 0  # contexts that limit it to one thread
        self._user_threads = 1  # the user's setting, while limited

    def after_fork(self) -> None:
        """Undo the limits of threads that a child process does not have."""
        self._lock = threading.Lock()
        if self._n_limiting and self._functions is not None:
            self._functions.set(self._user_threads)
        self._n_limiting = 0

    def get_num_threads(self) -> int:
        """Return the number that the user has set; 1 if BLAS cannot be asked."""
        if self._functions is None:
            return 1
        with self._lock:
            return self._user_threads if self._n_limiting else int(self._functions.get())

    def set_num_threads(self, number: int) -> None:
        """Set the number, if BLAS can be told."""
        with self._lock:
            self._user_threads = number
            if self._functions is not None and not self._n_limiting:
                self._functions.set(number)

    @contextmanager
    def single_threaded(self) -> Iterator[None]:
        """Leave BLAS one thread inside the context: for many small products, each of which it would divide."""
        self._limit()
        try:
            yield
        finally:
            self._release()

    def _limit(self) -> None:
        with self._lock:
            if self._functions is not None and not self._n_limiting:
                self._user_threads = self._functions.get()
                try:
                    self._functions.set(1)
                except BaseException:  # Ctrl-C, just after it was set
                    self._functions.set(self._user_threads)
                    raise
            self._n_limiting += 1

    def _release(self) -> None:
        """Undo one limit; a number that the user has set meanwhile stays."""
        with self._lock:
            if self._n_limiting:
                self._n_limiting -= 1
            if self._functions is not None and not self._n_limiting and self._functions.get() == 1:
                self._functions.set(self._user_threads)


blas = Blas()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=blas.after_fork)


class ComputeContext:
    """The context in which networks compute with NumPy: overflow is silent, as on a GPU."""

    __slots__ = ("_errors",)

    def __enter__(self) -> "ComputeContext":
        self._errors = _silence()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _restore(self._errors)


_umath: Any = import_module("numpy._core._multiarray_umath")
_error_state: Any = getattr(_umath, "_extobj_contextvar", None)
_silenced: tuple[Any, Any] = (None, None)  # the error state of the last caller, and the same with silent overflow
_inner = nullcontext()

if _error_state is not None:
    # NumPy's own variable, which np.errstate sets too but in 1 µs: a tenth of the inference of one example.
    _restore = _error_state.set

    def _silence() -> Any:
        global _silenced
        caller, silenced = _error_state.get(), _silenced
        if caller is not silenced[0]:
            _silenced = silenced = caller, _umath._make_extobj(**SILENT)
        try:
            _error_state.set(silenced[1])
        except BaseException:  # Ctrl-C, just after it was set
            _error_state.set(caller)
            raise
        return caller

    def compute_context() -> AbstractContextManager[Any]:
        """Return a :class:`ComputeContext`; within one, a context that does nothing and costs 0.3 µs, not 0.8."""
        return _inner if _error_state.get() is _silenced[1] else ComputeContext()

else:
    compute_context = ComputeContext

    def _silence() -> Any:
        errors = np.errstate(**SILENT)
        errors.__enter__()
        return errors

    def _restore(errors: Any) -> None:
        errors.__exit__(None, None, None)


def overflow_is_silent() -> bool:
    """Whether a compute context is in force; False if only a slow look could tell."""
    return _error_state is not None and _error_state.get() is _silenced[1]
