"""Backends by device name, and by the type of an array."""

import copyreg
import importlib
import itertools
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from portanet.backends.base import Backend, BackendUnavailable, describe
from portanet.backends.disabled import enabled

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("portanet")

Factory = Callable[[str | None], Backend]


@dataclass(frozen=True)
class _Registered:
    """The factory of a backend, and the top-level module of its array type if known."""

    factory: Factory
    library: str | None


def _built_in(module: str, load: str = "load") -> Factory:
    """Import the backend's file only when its device is asked for: no library is touched at import."""

    def factory(ordinal: str | None) -> Backend:
        backend: Backend = getattr(importlib.import_module(f"portanet.backends.{module}"), load)(ordinal)
        return backend

    return factory


_registered: dict[str, _Registered] = {
    "cpu": _Registered(_built_in("numpy"), "numpy"),
    "cuda": _Registered(_built_in("cupy"), "cupy"),
    "strict": _Registered(_built_in("generic", "load_strict"), "array_api_strict"),
    "torch": _Registered(_built_in("generic", "load_torch"), "torch"),
}
_loaded: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
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
        ``factory(ordinal)`` returns a :class:`Backend`; ``ordinal`` is what follows the colon in ``"npu:1"``, or None.
        It raises :class:`BackendUnavailable` where the device cannot be used.
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
    if not name or ":" in name or name == "auto":
        raise ValueError(f"name must be a device name without a colon and not 'auto', got {name!r}")
    if name in _registered:
        raise ValueError(f"name {name!r} is taken: choose another")
    _registered[name] = _Registered(factory, library)


def _read_entry_points() -> None:
    global _entry_points_read
    if _entry_points_read:
        return
    _entry_points_read = True
    from importlib.metadata import entry_points  # costs milliseconds, and is seldom needed

    for entry in entry_points(group="portanet.backends"):
        _registered.setdefault(entry.name, _Registered(partial(_from_entry_point, entry), None))


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
        raise TypeError(f"device must be a string such as 'cpu' or 'cuda:0', got {name!r}")
    if name == "auto":
        return _auto()
    if name not in _loaded:
        kind, colon, ordinal = name.partition(":")
        if kind not in _registered:
            _read_entry_points()
        if kind not in _registered:
            origin = " of PORTANET_DEVICE" if device is None else ""
            hint = " (a GPU is 'cuda')" if kind.lower() in ("gpu", "cupy", "nvidia") else ""
            known = ", ".join([*_registered, "auto"])
            raise ValueError(f"device {name!r}{origin} is unknown{hint}: choose one of {known}")
        _add(_registered[kind].factory(ordinal if colon else None), name)
    return _loaded[name]


copyreg.pickle(Backend, lambda backend: (get_backend, (backend.name,)))  # a pickle holds the name of the device


def _add(backend: Backend, alias: str) -> None:
    first = _by_type.setdefault(backend.array_type, backend)
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
    _by_type.setdefault(backend.array_type, backend)


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

    Examples
    --------
    >>> default_device()
    'cpu'
    """
    return _default or os.environ.get("PORTANET_DEVICE") or "cpu"


def set_device(device: str | None) -> None:
    """
    Set the default device of this process; None returns to ``PORTANET_DEVICE`` or the CPU.

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


@dataclass(frozen=True)
class Device:
    """An entry of :func:`devices`: whether it is usable, and its description or the reason."""

    name: str
    usable: bool
    description: str

    def __str__(self) -> str:
        return f"{self.name:<8} {'usable' if self.usable else 'absent':<7} {self.description}"


def devices() -> list[Device]:
    """
    List every known device, and why unusable ones cannot be used.

    Examples
    --------
    >>> [d.name for d in devices() if d.name == "cpu" and d.usable]
    ['cpu']
    """
    _read_entry_points()
    return [device for kind in list(_registered) for device in _devices_of(kind)]


def _devices_of(kind: str) -> list[Device]:
    found: dict[str, Device] = {}
    for ordinal in itertools.count():
        try:
            backend = get_backend(f"{kind}:{ordinal}" if ordinal else kind)
        except BackendUnavailable as reason:
            return list(found.values()) or [Device(kind, False, str(reason))]
        if backend.name in found:  # a backend that ignores ordinals
            break
        found[backend.name] = Device(backend.name, True, backend.description)
    return list(found.values())


def _find_backend(kind: type) -> Backend:
    """Return the backend of an array type that was not seen before."""
    library = kind.__module__.partition(".")[0]
    if issubclass(kind, np.generic):  # what NumPy gives where others give an array of shape ()
        _by_type[kind] = get_backend("cpu")
    elif library != "builtins":
        _read_entry_points()
        for name, registered in list(_registered.items()):
            if registered.library in (library, None):
                with suppress(BackendUnavailable):
                    get_backend(name)
    if kind not in _by_type:
        raise TypeError(
            f"an array is needed, got {kind.__name__}: convert it with net.asarray(...) or numpy.asarray(...)"
        )
    return _by_type[kind]


def namespace(array: Any) -> Any:
    """
    Return the Array API namespace of an array's library, by one look-up of its type.

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
    backend = _by_type.get(type(array)) or _find_backend(type(array))
    return backend.xp


def backend_of(array: Any) -> Backend:
    """
    Return the backend of the device that an array is on.

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
    backend = _by_type.get(type(array)) or _find_backend(type(array))
    if backend.device == array.device:
        return backend
    for sibling in _devices_of(backend.name.partition(":")[0]):  # another GPU
        if (backend := get_backend(sibling.name)).device == array.device:
            return backend
    raise ValueError(f"array is on {describe(array)}, a device of no backend: pass it as NumPy data")


def kernel_override(name: str, array: Any) -> Callable[..., Any] | None:
    """Return the kernel that an array's backend has under a name, or None."""
    backend = _by_type.get(type(array)) or _find_backend(type(array))
    return backend.kernels.get(name) if enabled(name) else None
