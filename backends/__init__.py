"""
Array libraries, behind one interface.

A :class:`Backend` is one array library on one device. Everything above it asks :func:`get_backend` once, or
:func:`namespace` for the array functions that fit an array at hand, and never names a device again.

>>> get_backend("cpu").name
'cpu'
>>> xp = namespace(np.zeros(3))
>>> xp.sum(xp.ones(3))
np.float64(3.0)
"""

from portanet.backends.available import Device, devices
from portanet.backends.base import Backend, BackendUnavailable, OutOfMemory, describe
from portanet.backends.dispatch import as_array, as_arrays, backend_of, kernel_override, namespace, take_rows
from portanet.backends.exchange import SparseRows, is_sparse, like
from portanet.backends.host import PORTABLE, cast, host_array, host_values, is_host_data
from portanet.backends.num_threads import get_num_threads, set_num_threads
from portanet.backends.precision import get_float32_matmul_precision, set_float32_matmul_precision
from portanet.backends.registry import default_device, get_backend, register, set_device

__all__ = [
    "PORTABLE",
    "Backend",
    "BackendUnavailable",
    "Device",
    "OutOfMemory",
    "SparseRows",
    "as_array",
    "as_arrays",
    "backend_of",
    "cast",
    "default_device",
    "describe",
    "devices",
    "get_backend",
    "get_float32_matmul_precision",
    "get_num_threads",
    "host_array",
    "host_values",
    "is_host_data",
    "is_sparse",
    "kernel_override",
    "like",
    "namespace",
    "register",
    "set_device",
    "set_float32_matmul_precision",
    "set_num_threads",
    "take_rows",
]
