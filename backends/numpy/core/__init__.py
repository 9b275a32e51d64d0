"""
The compiled kernels of the NumPy backend, where they were built.

Installing PortaNet builds them if there is a C++ compiler, and goes on without them if there is none: plain NumPy then
computes the same, up to rounding and more slowly. ``PORTANET_CORE=0`` leaves them out; ``portanet info`` says whether
they are in use, and for which instruction set.
"""

import os
import warnings
from importlib import import_module
from typing import Any

MAX_THREADS = 256
"""Most threads of the compiled kernels."""

compiled: Any = None
"""The module of the compiled kernels, or None."""

if os.environ.get("PORTANET_CORE") == "0":
    status = "not used (PORTANET_CORE=0)"
else:
    try:
        compiled = import_module("portanet.backends.numpy.core._core")
    except ImportError as error:
        status = f"not built ({error}): install a C++ compiler, then PortaNet again"
    else:
        status = f"in use, for {compiled.instruction_set()}"


def default_num_threads() -> int:
    """Return PORTANET_NUM_THREADS or OMP_NUM_THREADS, else the number of cores that this process may use."""
    for variable in ("PORTANET_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "").split(",")[0]  # OpenMP takes a list, one number for each level
        if value.isdecimal() and int(value) > 0:
            return int(value)
        if value and variable == "PORTANET_NUM_THREADS":
            warnings.warn(f"{variable} must be a number of threads, got {value!r}: it is not used", stacklevel=2)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(number: int) -> None:
    """Set the number of threads, at most ``MAX_THREADS``."""
    compiled.set_num_threads(min(number, MAX_THREADS))


if compiled is not None:
    set_num_threads(default_num_threads())
