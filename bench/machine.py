"""The machine and the library versions of a measurement."""

import os
import platform
import re
import subprocess
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("portanet", "numpy", "cupy", "torch", "scikit-learn", "jax")


def measurement_info(devices: Collection[str], threads: int) -> dict[str, Any]:
    """
    Describe machine, versions, threads and time, for a file of results.

    Parameters
    ----------
    devices : collection of str
        "cpu", "cuda" or both.
    threads : int
        Threads that each library may use.
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
    """Return the name of the processor."""
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of BLAS threads: that of the environment, or else the number of cores."""
    values = (os.environ.get(f"{pool}_NUM_THREADS", "") for pool in ("OPENBLAS", "OMP"))
    return next((int(value) for value in values if value.isdecimal()), cores())


def gpu() -> str:
    """Return names and versions of CuPy, the GPU and CUDA; raises BackendUnavailable without a GPU."""
    from portanet import get_backend

    description: str = get_backend("cuda").description
    return description


def gpu_memory_used() -> int:
    """Return the memory in use on the first visible GPU, by all processes, in bytes."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", first]
    done = subprocess.run(query, capture_output=True, text=True, check=True)
    return int(done.stdout) * 2**20


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def file_name(kind: str, info: dict[str, Any]) -> str:
    """
    Return the name of a file of results, such as ``peers-amd-epyc-7b13.json``.

    Examples
    --------
    >>> file_name("peers", {"machine": {"cpu": "Intel(R) Core(TM) i7", "gpu": None}})
    'peers-intel-r-core-tm-i7.json'
    """
    chip = info["machine"]["gpu"] or info["machine"]["cpu"]
    return f"{kind}-{'-'.join(re.findall('[a-z0-9]+', chip.lower()))}.json"
