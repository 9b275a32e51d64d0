"""Which devices are usable here, and why the others are not."""

import itertools
from dataclasses import dataclass

from portanet.backends.base import BackendUnavailable
from portanet.backends.registry import get_backend, read_entry_points, registered


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

    Returns
    -------
    list of Device
        Each has a ``name``, says whether it is ``usable``, and has a ``description``, which is the reason if it is not.

    Examples
    --------
    >>> [d.name for d in devices() if d.name == "cpu" and d.usable]
    ['cpu']
    """
    read_entry_points()
    return [device for kind in list(registered) for device in devices_of(kind)]


def devices_of(kind: str) -> list[Device]:
    """List the devices of one name: all its ordinals, or the reason why there is none."""
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
