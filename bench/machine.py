"""What a measurement was made on."""

import os
import platform
import re
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("portanet", "numpy", "cupy", "torch", "scikit-learn", "jax")


def measured_on(devices: Collection[str], threads: int) -> dict[str, Any]:
    """
    Describe machine, versions, threads and time, for a file of results.

    Parameters
    ----------
    devices : collection of str
        Of "cpu" and "cuda".
    threads : int
        That each library may use.
    """
    return {
        "devices": [*devices],
        "machine": {
            "cpu": cpu(),
            "cores": cores(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "gpu": gpu() if "cuda" in devices else None,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu() -> str:
    """Name of the processor."""
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many threads BLAS was told to use, by default one a core."""
    asked = (os.environ.get(f"{pool}_NUM_THREADS", "") for pool in ("OPENBLAS", "OMP"))
    return next((int(number) for number in asked if number.isdecimal()), cores())


def gpu() -> str:
    """CuPy's, the GPU's and CUDA's name and version; raises BackendUnavailable without one."""
    from portanet import get_backend

    description: str = get_backend("cuda").description
    return description


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def file_name(kind: str, measured: dict[str, Any]) -> str:
    """
    Where results belong: ``peers-amd-epyc-7b13.json``.

    Examples
    --------
    >>> file_name("peers", {"machine": {"cpu": "Intel(R) Core(TM) i7", "gpu": None}})
    'peers-intel-r-core-tm-i7.json'
    """
    chip = measured["machine"]["gpu"] or measured["machine"]["cpu"]
    return f"{kind}-{'-'.join(re.findall('[a-z0-9]+', chip.lower()))}.json"
