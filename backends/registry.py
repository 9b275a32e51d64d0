"""Backends by device name: which there are, how each is loaded, and which is the default."""

import copyreg
import importlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from portanet.backends.base import Backend, BackendUnavailable
from portanet.backends.lock import lock
from portanet.checks import check_callable, check_text, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("portanet")

Factory = Callable[[str | None], Backend]


@dataclass(frozen=True)
class Registered:
    """The factory of a backend, and the top-level module of its array type if known."""

    factory: Factory
    library: str | None


def _built_in(module: str, load: str = "load") -> Factory:
    """Import the backend's file only when its device is asked for: no library is touched at import."""

    def factory(ordinal: str | None) -> Backend:
        backend: Backend = getattr(importlib.import_module(f"portanet.backends.{module}"), load)(ordinal)
        return backend

    return factory


registered: dict[str, Registered] = {
    "cpu": Registered(_built_in("numpy"), "numpy"),
    "cuda": Registered(_built_in("cupy"), "cupy"),
    "strict": Registered(_built_in("generic", "load_strict"), "array_api_strict"),
    "torch": Registered(_built_in("generic", "load_torch"), "torch"),
}
"""How each device is loaded, by its name without ordinal."""

by_type: dict[type, Backend] = {}
"""The backend that was loaded first for each type of array."""

_loaded: dict[str, Backend] = {}
_default: str | None = None
_entry_points_read = False


def register(name: str, factory: Factory, *, library: str) -> None:
    """
    Make a device available under ``name``.

    A package can do the same without being imported first, through an entry point of the group
    ``portanet.backends`` whose name is the device and whose value is the factory.

    Parameters
    ----------
    name : str
        Device name without ordinal, such as ``"npu"``.
    factory : callable
        ``factory(ordinal)`` returns a :class:`portanet.backends.Backend`; ``ordinal`` is what follows the colon in
        ``"npu:1"``, or None. It raises :class:`portanet.BackendUnavailable` where the device cannot be used.
    library : str
        Top-level module of the array type, by which arrays made elsewhere find their backend.

    Raises
    ------
    ValueError
        If the name is taken, or is not a valid device name.

    Examples
    --------
    >>> from dataclasses import replace
    >>> register("twin", lambda ordinal: replace(get_backend("cpu"), name="twin"), library="numpy")
    >>> get_backend("twin")
    <Backend twin: ...>
    """
    if not isinstance(name, str) or not name or ":" in name or name == "auto":
        raise ValueError(f"name must be a device name without a colon and not 'auto', got {shown(name)}")
    if name in registered:
        raise ValueError(f"name {name!r} is taken: choose another")
    check_callable("factory", factory, example="lambda ordinal: Backend(...)")
    check_text("library", library)
    registered[name] = Registered(factory, library)


def read_entry_points() -> None:
    """Add the devices of installed packages to :data:`registered`."""
    global _entry_points_read
    if _entry_points_read:
        return
    _entry_points_read = True
    from importlib.metadata import entry_points  # costs milliseconds, and is seldom needed

    for entry in entry_points(group="portanet.backends"):
        registered.setdefault(entry.name, Registered(partial(_from_entry_point, entry), None))


def _from_entry_point(entry: "EntryPoint", ordinal: str | None) -> Backend:
    try:
        backend: Backend = entry.load()(ordinal)
    except BackendUnavailable:
        raise
    except Exception as error:  # another package's defect must not take down the list of devices
        raise BackendUnavailable(
            f"entry point {entry.name} = {entry.value} failed ({type(error).__name__}: {error}): repair its package"
        ) from error
    return backend


def get_backend(device: "str | Backend | None" = None) -> Backend:
    """
    Return the backend of a device.

    Parameters
    ----------
    device : str or Backend, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"auto"`` (CUDA if it works, else the CPU; the logger "portanet" says
        which), ``"strict"`` and ``"torch"`` for tests, or a registered name. None means :func:`default_device`.

    Returns
    -------
    Backend
        The same object at every call.

    Raises
    ------
    ValueError
        If no such device is known.
    BackendUnavailable
        If it is known but cannot be used here; the message names the step that failed and the fix.

    Examples
    --------
    >>> get_backend("cpu").to_numpy(get_backend("cpu").asarray([1, 2], "float32"))
    array([1., 2.], dtype=float32)
    """
    if isinstance(device, Backend):
        return device
    name = default_device() if device is None else device
    if not isinstance(name, str):
        raise TypeError(f"device must be a string such as 'cpu' or 'cuda:0', got {shown(name)}")
    if name == "auto":
        return _auto()
    return _loaded.get(name) or _load(name, " of PORTANET_DEVICE" if device is None else "")


def _load(name: str, origin: str) -> Backend:
    with lock:
        if name in _loaded:  # another thread has loaded it meanwhile
            return _loaded[name]
        kind, colon, ordinal = name.partition(":")
        if kind not in registered:
            read_entry_points()
        if kind not in registered:
            hint = " (a GPU is 'cuda')" if kind.lower() in ("gpu", "cupy", "nvidia") else ""
            known = ", ".join([*registered, "auto"])
            raise ValueError(f"device {name!r}{origin} is unknown{hint}: choose one of {known}")
        _add(registered[kind].factory(ordinal if colon else None), name)
        return _loaded[name]


copyreg.pickle(Backend, lambda backend: (get_backend, (backend.name,)))  # a pickle holds the name of the device


def _add(backend: Backend, alias: str) -> None:
    if backend.array_type is np.ndarray and backend.name != "cpu":
        get_backend("cpu")  # it owns NumPy's arrays, also if another backend of them is asked for first
    first = by_type.setdefault(backend.array_type, backend)
    if first.kernels.keys() != backend.kernels.keys() or any(
        first.kernels[name] is not kernel for name, kernel in backend.kernels.items()
    ):
        raise ValueError(
            f"backend {backend.name!r} has other kernels than {first.name!r} for the same array type "
            f"{backend.array_type.__name__}: kernels are chosen by array type, so give it an array type of its own"
        )
    _loaded[alias] = _loaded.setdefault(backend.name, backend)


def register_array_type(backend: Backend) -> None:
    """Register the array type of a backend that has no device name."""
    by_type.setdefault(backend.array_type, backend)


def _auto() -> Backend:
    if "auto" not in _loaded:
        try:
            backend, why = get_backend("cuda"), ""
        except BackendUnavailable as reason:
            backend, why = get_backend("cpu"), f" (cuda: {reason})"
        logger.warning("device 'auto' took %s%s", backend.name, why)
        _loaded["auto"] = backend
    return _loaded["auto"]


def default_device() -> str:
    """
    Return the device that is used where none is given.

    It is the one last given to :func:`set_device`, else the environment variable ``PORTANET_DEVICE``, else ``"cpu"``.

    Returns
    -------
    str
        Its name.

    Examples
    --------
    >>> default_device()
    'cpu'
    """
    return _default or os.environ.get("PORTANET_DEVICE") or "cpu"


def set_device(device: str | None) -> None:
    """
    Set the default device of this process; None returns to ``PORTANET_DEVICE`` or the CPU.

    Parameters
    ----------
    device : str or None
        As :func:`get_backend` takes it.

    Raises
    ------
    ValueError, BackendUnavailable
        As :func:`get_backend`; the default then stays as it was.

    Examples
    --------
    >>> set_device("cpu")
    >>> default_device()
    'cpu'
    >>> set_device(None)
    """
    global _default
    _default = None if device is None else get_backend(device).name
