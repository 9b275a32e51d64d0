"""
Backends without tuned kernels, for tests: array-api-strict ("strict") and PyTorch on the CPU ("torch").

array-api-strict runs on its fake device "device1", whose arrays raise on implicit conversion to NumPy and on operations
with arrays of other devices. This finds hidden transfers without a GPU.
"""

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from portanet.backends.base import Backend, BackendUnavailable, refuse_ordinal, silent_overflow


def load_strict(ordinal: str | None = None) -> Backend:
    """Load the backend of array-api-strict on its device "device1"; it has no ordinal."""
    refuse_ordinal("strict", ordinal)
    xp = _import("array_api_strict")
    host = xp.Device("CPU_DEVICE")
    return Backend(
        name="strict",
        xp=xp,
        array_type=type(xp.asarray(0.0)),
        device=xp.Device("device1"),
        to_numpy=lambda array: np.asarray(array.to_device(host)),
        description=f"array-api-strict {xp.__version__} on its fake device 'device1', for tests",
        activate=silent_overflow,
    )


def load_torch(ordinal: str | None = None) -> Backend:
    """Load the backend of PyTorch on the CPU; it has no ordinal."""
    refuse_ordinal("torch", ordinal)
    torch, standard = _import("torch"), _import("array_api_compat.torch")

    def asarray(values: Any, /, **kwargs: Any) -> Any:
        # PyTorch shares the memory of NumPy arrays, but supports neither read-only memory nor negative strides.
        host = np.require(values, requirements=("C", "W")) if isinstance(values, np.ndarray) else values
        return standard.asarray(host, **kwargs)

    xp = ModuleType("portanet.backends.torch_xp")
    vars(xp).update(vars(standard), asarray=asarray)
    return Backend(
        name="torch",
        xp=xp,
        array_type=torch.Tensor,
        device=torch.device("cpu"),
        to_numpy=lambda array: array.detach().numpy(),
        description=f"PyTorch {torch.__version__} on the CPU, for tests",
    )


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        package = module.removeprefix("array_api_compat.").replace("_", "-")
        raise BackendUnavailable(f"import {module} failed ({error}): pip install {package}") from error
