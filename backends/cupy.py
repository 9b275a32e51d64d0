"""
CuPy on CUDA GPUs: devices "cuda" (the first), "cuda:1" ...

Facts that shaped this file: ``import cupy`` succeeds without a driver, so only ``cupy.cuda.is_available()`` tells;
``getDeviceCount`` raises ``CUDARuntimeError`` (a ``RuntimeError``) and a missing toolkit library raises ``ImportError``;
``cupy.asarray`` of host data is asynchronous, so the source must not be written meanwhile.
"""

from types import ModuleType
from typing import Any

from portanet.backends.base import Backend, BackendUnavailable

_INSTALL = "pip install 'portanet[cuda12]' for a CUDA 12 driver, or 'portanet[cuda13]' for CUDA 13"


def load(ordinal: str | None = None) -> Backend:
    """A CUDA device by its ordinal, ``"0"`` by default."""
    cupy, standard = _import()
    index = _device_index(cupy, ordinal or "0")
    device = cupy.cuda.Device(index)
    xp = ModuleType("portanet.backends.cupy_xp")
    vars(xp).update(vars(standard))
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    return Backend(
        name=f"cuda:{index}",
        xp=xp,
        array_type=cupy.ndarray,
        device=device,
        to_numpy=cupy.asnumpy,
        description=(
            f"CuPy {cupy.__version__} on {properties['name'].decode()}, "
            f"{properties['totalGlobalMem'] / 2**30:.0f} GiB, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
        ),
        synchronize=device.synchronize,
        activate=lambda: cupy.cuda.Device(index),  # a fresh one each time: a Device context is not re-entrant
    )


def _import() -> tuple[Any, Any]:
    try:
        import cupy
        from array_api_compat import cupy as standard
    except ImportError as error:
        raise BackendUnavailable(f"import cupy failed ({error}): {_INSTALL}") from error
    return cupy, standard


def _device_index(cupy: Any, ordinal: str) -> int:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except (RuntimeError, ImportError) as error:
        raise BackendUnavailable(
            f"cupy {cupy.__version__} is installed but the CUDA driver does not answer ({error}): "
            f"install or update the NVIDIA driver, and check it with nvidia-smi"
        ) from error
    if count == 0 or not cupy.cuda.is_available():
        raise BackendUnavailable(
            f"cupy {cupy.__version__} finds no CUDA device: check nvidia-smi and the variable CUDA_VISIBLE_DEVICES"
        )
    if not ordinal.isdigit() or int(ordinal) >= count:
        raise BackendUnavailable(f"device 'cuda:{ordinal}' does not exist: there are {count}, from 'cuda:0' on")
    return int(ordinal)
