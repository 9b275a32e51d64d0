"""Which backends there are, which one is meant, and which namespace an array belongs to."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portanet.backends.base import Backend, BackendUnavailable

Factory = Callable[[str | None], Backend]


@dataclass(frozen=True)
class _Registered:
    """How to make a backend, and the top-level module whose arrays it understands."""

    factory: Factory
    library: str


def _built_in(module: str) -> Factory:
    """Import the backend's file only when its device is asked for: no library is touched at import."""
    return lambda ordinal: importlib.import_module(f"portanet.backends.{module}").load(ordinal)


_registered: dict[str, _Registered] = {
    "cpu": _Registered(_built_in("numpy"), "numpy"),
    "cuda": _Registered(_built_in("cupy"), "cupy"),
    "strict": _Registered(lambda _: _built_in("generic")("array_api_strict"), "array_api_strict"),
    "torch": _Registered(lambda _: _built_in("generic")("torch"), "torch"),
}
_loaded: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
_namespaces: dict[type, Any] = {}
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
        Top-level module of the array type, so that arrays made elsewhere find their backend.

    Examples
    --------
    >>> from dataclasses import replace
    >>> register("twin", lambda ordinal: replace(get_backend("cpu"), name="twin"), library="numpy")
    >>> get_backend("twin")
    <Backend twin: ...>
    """
    if not name or ":" in name or name == "auto":
        raise ValueError(f"name must be a device name without a colon and not 'auto', got {name!r}")
    _registered[name] = _Registered(factory, library)
    _loaded.pop(name, None)


def _read_entry_points() -> None:
    global _entry_points_read
    if _entry_points_read:
        return
    _entry_points_read = True
    from importlib.metadata import entry_points  # costs milliseconds, and is seldom needed

    for entry in entry_points(group="portanet.backends"):
        if entry.name not in _registered:
            _registered[entry.name] = _Registered(
                lambda ordinal, e=entry: e.load()(ordinal), entry.module.split(".")[0]
            )


def get_backend(device: "str | Backend | None" = None) -> Backend:
    """
    The backend of a device.

    Parameters
    ----------
    device : str or Backend, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"auto"`` (CUDA where it works, else the CPU; says on stderr which),
        ``"strict"`` and ``"torch"`` for tests, or a registered name. None takes :func:`default_device`.

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
        kind, _, ordinal = name.partition(":")
        if kind not in _registered:
            _read_entry_points()
        if kind not in _registered:
            hint = " (a GPU is 'cuda')" if kind.lower() in ("gpu", "cupy", "nvidia") else ""
            raise ValueError(f"device {name!r} is unknown{hint}: choose one of {', '.join([*_registered, 'auto'])}")
        _add(_registered[kind].factory(ordinal or None), name)
    return _loaded[name]


def _add(backend: Backend, alias: str) -> None:
    _loaded[alias] = _loaded.setdefault(backend.name, backend)
    _by_type.setdefault(backend.array_type, backend)
    _namespaces.setdefault(backend.array_type, backend.xp)


def _auto() -> Backend:
    if "auto" not in _loaded:
        try:
            backend, why = get_backend("cuda"), ""
        except BackendUnavailable as reason:
            backend, why = get_backend("cpu"), f" (cuda: {reason})"
        print(f"portanet: device 'auto' took {backend.name}{why}", file=sys.stderr)
        _loaded["auto"] = backend
    return _loaded["auto"]


def default_device() -> str:
    """
    Name of the device that is meant where none is given.

    It is what :func:`set_device` was last given, else the environment variable ``PORTANET_DEVICE``, else ``"cpu"``.
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
    """A device as :func:`devices` lists it: usable or not, and what it is or why not."""

    name: str
    usable: bool
    description: str

    def __str__(self) -> str:
        return f"{self.name:<8} {'usable' if self.usable else 'absent':<7} {self.description}"


def devices() -> list[Device]:
    """
    Every known device, and why those that cannot be used cannot.

    Examples
    --------
    >>> [d.name for d in devices() if d.name == "cpu" and d.usable]
    ['cpu']
    """
    _read_entry_points()
    found = []
    for name in _registered:
        try:
            backend = get_backend(name)
        except BackendUnavailable as reason:
            found.append(Device(name, False, str(reason)))
        else:
            found.append(Device(backend.name, True, backend.description))
    return found


def _backend_of_type(kind: type) -> Backend | None:
    if kind not in _by_type:
        library = kind.__module__.partition(".")[0]
        for name, registered in list(_registered.items()):
            if registered.library == library:
                try:
                    get_backend(name)
                except BackendUnavailable:
                    continue
    return _by_type.get(kind)


def namespace(array: Any) -> Any:
    """
    The Array API namespace of an array's library, by one look-up of its type.

    Raises
    ------
    TypeError
        If it is no array of a known library.

    Examples
    --------
    >>> namespace(np.zeros(2)).add(np.ones(2), 1.0)
    array([2., 2.])
    >>> namespace([0.0, 0.0])
    Traceback (most recent call last):
    ...
    TypeError: an array is needed, got list: convert it with net.asarray(...) or numpy.asarray(...)
    """
    try:
        return _namespaces[type(array)]
    except KeyError:
        if (backend := _backend_of_type(type(array))) is None:
            kind = type(array).__name__
            raise TypeError(
                f"an array is needed, got {kind}: convert it with net.asarray(...) or numpy.asarray(...)"
            ) from None
        return backend.xp


def kernel_override(name: str, array: Any) -> Callable[..., Any] | None:
    """The tuned kernel that an array's backend has under a name, or None."""
    namespace(array)  # loads the backend of an array that was made elsewhere
    return _by_type[type(array)].kernels.get(name)
