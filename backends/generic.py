"""
Any Array API library without tuning: array-api-strict ("strict") and PyTorch on the CPU ("torch").

They are for tests and for the curious. array-api-strict runs on its fake device "device1", whose arrays refuse to become
NumPy arrays unasked and to mix with others: a machine without a GPU catches hidden transfers.
"""

import importlib
from typing import Any

import numpy as np

from portanet.backends.base import Backend, BackendUnavailable, silent_overflow


def load(library: str) -> Backend:
    """The backend of an importable library, ``"array_api_strict"`` or ``"torch"``."""
    try:
        return {"array_api_strict": _strict, "torch": _torch}[library]()
    except ImportError as error:
        raise BackendUnavailable(f"{library} is not installed: pip install {library.replace('_', '-')}") from error


def _strict() -> Backend:
    xp: Any = importlib.import_module("array_api_strict")
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


def _torch() -> Backend:
    torch: Any = importlib.import_module("torch")
    xp = importlib.import_module("array_api_compat.torch")
    return Backend(
        name="torch",
        xp=xp,
        array_type=torch.Tensor,
        device=torch.device("cpu"),
        to_numpy=lambda array: array.detach().numpy(),
        description=f"PyTorch {torch.__version__} on the CPU, for tests",
    )
