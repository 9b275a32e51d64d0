"""From an array to its library: namespace, backend and kernels, by one look-up of the array's type."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from portanet.backends.available import devices_of
from portanet.backends.base import Backend, BackendUnavailable, describe
from portanet.backends.disabled import enabled
from portanet.backends.exchange import SparseRows
from portanet.backends.host import PORTABLE, has_device, host_array, is_host_data, refuse_gradient
from portanet.backends.registry import by_type, get_backend, read_entry_points, registered


def namespace(array: Any) -> Any:
    """
    Return the Array API namespace of an array's library, by one look-up of its type.

    Parameters
    ----------
    array : array
        Of any library that a backend knows.

    Returns
    -------
    module
        The functions of the standard, some of them replaced by faster ones.

    Raises
    ------
    TypeError
        If it is not an array of a known library.

    Examples
    --------
    >>> namespace(np.zeros(2)).add(np.ones(2), 1.0)
    array([2., 2.])
    >>> namespace([0.0, 0.0])
    Traceback (most recent call last):
    ...
    TypeError: an array is needed, got list: convert it with net.asarray(...) or numpy.asarray(...)
    """
    backend = by_type.get(type(array)) or _find_backend(type(array))
    return backend.xp


def backend_of(array: Any, *, name: str = "array") -> Backend:
    """
    Return the backend of the device that an array is on; messages call it ``name``.

    Raises
    ------
    TypeError
        If it is not an array of a known library.
    ValueError
        If no backend has its device.

    Examples
    --------
    >>> backend_of(np.zeros(2)).name
    'cpu'
    """
    backend = by_type.get(type(array)) or _find_backend(type(array))
    if isinstance(array, np.generic) or backend.device == array.device:  # NumPy 2.0's scalars have no device
        return backend
    for sibling in devices_of(backend.name.partition(":")[0]):  # another GPU
        if (backend := get_backend(sibling.name)).device == array.device:
            return backend
    raise ValueError(f"{name} is on {describe(array)}, a device of no backend: pass it as NumPy data")


def as_array(values: Any, *, name: str = "array", read: Callable[..., np.ndarray] = host_array) -> Any:
    """
    Return an array of a device as it is, and host data as a NumPy array of numbers.

    Parameters
    ----------
    values : array_like
        An array, a list of numbers, a data frame ...
    name : str
        Name of the argument, for messages.
    read : callable
        ``read(values, name=name)`` reads host data; :func:`host_values` reads strings and dates too.

    Raises
    ------
    ValueError
        If ``values`` does not hold numbers; the message names the argument.
    TypeError
        If it is an array of an unknown library, on a device.

    Examples
    --------
    >>> as_array([1, 2])
    array([1, 2])
    """
    kind = type(values)
    if kind is np.ndarray and values.dtype in PORTABLE:
        return values
    known = kind in by_type and kind is not np.ndarray and not issubclass(kind, np.generic)
    if known or has_device(values):
        refuse_gradient(name, values)
        try:
            namespace(values)
        except TypeError:  # of an unknown library
            if not is_host_data(values):
                raise
        else:
            return values
    return read(values, name=name)


def take_rows(array: Any, rows: slice | np.ndarray) -> Any:
    """
    Return some rows of an array on the host or a device: a slice, or those of a NumPy array of indices.

    Examples
    --------
    >>> take_rows(np.asarray([5.0, 6.0, 7.0]), np.asarray([2, 0]))
    array([7., 5.])
    """
    if isinstance(rows, slice):
        return array[rows, ...]
    if isinstance(array, (np.ndarray, SparseRows)):
        return array[rows]
    backend = backend_of(array)
    with backend.activate():
        return backend.xp.take(array, backend.asarray(rows), axis=0)


def as_arrays(**values: Any) -> list[Any]:
    """
    Apply :func:`as_array` to named arguments. If they are CPU arrays of different libraries, convert all to NumPy.

    Examples
    --------
    >>> as_arrays(prediction=[0.5], target=np.asarray([1.0]))
    [array([0.5]), array([1.])]
    """
    arrays = [as_array(array, name=name) for name, array in values.items()]
    if len(set(map(type, arrays))) > 1 and all(map(is_host_data, arrays)):
        return [host_array(array, name=name) for name, array in zip(values, arrays, strict=True)]
    return arrays


def kernel_override(name: str, array: Any) -> Callable[..., Any] | None:
    """Return the kernel that an array's backend has under a name, or None."""
    backend = by_type.get(type(array)) or _find_backend(type(array))
    return backend.kernels.get(name) if enabled(name) else None


def _find_backend(kind: type) -> Backend:
    """Return the backend of an array type that was not seen before."""
    library = kind.__module__.partition(".")[0]
    if issubclass(kind, (np.generic, SparseRows)):  # NumPy gives np.generic where others give an array of shape ()
        by_type[kind] = get_backend("cpu")
    elif library != "builtins":
        read_entry_points()
        for name, entry in list(registered.items()):
            if entry.library in (library, None):
                with suppress(BackendUnavailable):
                    get_backend(name)
    if kind not in by_type:
        raise TypeError(
            f"an array is needed, got {kind.__name__}: convert it with net.asarray(...) or numpy.asarray(...)"
        )
    return by_type[kind]
