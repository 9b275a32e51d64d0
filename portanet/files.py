"""
Networks in files: one safetensors file holds the weights under readable names and the architecture as JSON.

Nothing in it is code: reading a file calls the constructors of registered classes, and no others.
"""

import json
import os
import secrets
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from portanet.checks import check_path
from portanet.config import from_json, to_json

FORMAT = "portanet 2"


def write_network(path: str | PathLike[str], net: Any) -> None:
    """
    Write a network; see :meth:`portanet.Layer.save`.

    Raises
    ------
    ValueError
        If the architecture cannot be built again from the layers' constructor arguments.
    """
    path, architecture = check_path("path", path), to_json(net)
    _check_rebuilt(net, from_json(architecture), net.topology.shared)
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(architecture),
        "dtype": net.flat.dtype,
        "shared": json.dumps(net.topology.shared),
        "frozen": json.dumps(_frozen(net.topology.layers) + _frozen(net.topology.parameters)),
    }
    # safetensors 0.8.0 silently corrupts arrays that are not C-contiguous (its issue 825).
    arrays = {name: np.ascontiguousarray(values) for name, values in net.get_weights().items()}
    write_atomically(path, to_bytes(arrays, metadata))


def read_network(path: str | PathLike[str]) -> tuple[Any, dict[str, np.ndarray], str]:
    """
    Read what :func:`write_network` wrote: a network without weights, its weights by name, and their dtype.

    Raises
    ------
    ValueError
        If the file is damaged, was not written by PortaNet, or holds a layer class that is not imported.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise ValueError(f"it is no complete safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError("it was not written by net.save, or by another version of PortaNet")
    net = from_json(json.loads(metadata["architecture"]))
    if not hasattr(net, "topology"):
        raise ValueError(f"it describes {net!r}, which is no layer")
    for name, first in json.loads(metadata["shared"]).items():
        _share(net, name, first)
    net._freeze_only(set(json.loads(metadata["frozen"])))
    return net, arrays, metadata["dtype"]


def _frozen(parts: dict[str, Any]) -> list[str]:
    return [name for name, part in parts.items() if part.frozen]


def _check_rebuilt(net: Any, rebuilt: Any, shared: dict[str, str]) -> None:
    """Refuse to save a network that its constructor arguments do not describe."""
    for name, first in shared.items():
        _share(rebuilt, name, first)
    ours, theirs = _parts(net), _parts(rebuilt)
    wrong = [name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name)]
    if wrong:
        is_now, would_be = (_describe(each, wrong[0]) for each in (net, rebuilt))
        raise ValueError(
            f"{type(net).__name__} cannot be saved: its part {wrong[0]!r} is {is_now}, but the constructor's arguments "
            f"give {would_be}: change the arguments too, or build the network from layers such as Sequential"
        )


def _parts(net: Any) -> dict[str, Any]:
    """Return what must be equal: arguments of layers without layers inside, and shapes of arrays, by name."""
    topology = net.topology
    arrays = {**topology.parameters, **topology.buffers}
    leaves = {name: to_json(layer) for name, layer in topology.layers.items() if not any(layer.named_children())}
    return leaves | {name: array.shape for name, array in arrays.items()}


def _describe(net: Any, name: str) -> str:
    """Write the layer or array of a name, for a message."""
    topology = net.topology
    array = {**topology.parameters, **topology.buffers}.get(name)
    return repr(topology.layers.get(name, "nothing")) if array is None else f"an array of shape {array.shape}"


def _share(net: Any, name: str, first: str) -> None:
    """Give a parameter or buffer a further name, unless its layer is shared as a whole."""
    topology = net.topology
    if topology.shared.get(name) == first:
        return
    layer, _, attribute = name.rpartition(".")
    if layer not in topology.layers:
        raise ValueError(f"{name!r} is the same array as {first!r}, within a list or dict: keep it in an attribute")
    value = {**topology.parameters, **topology.buffers}[first]
    setattr(topology.layers[layer], attribute, value)


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write beside the target and rename, so that the name never stands for half a file.

    Raises
    ------
    OSError
        If the file cannot be written, or ``path`` is something else than a file; it names ``path``.
    """
    path = Path(os.path.realpath(path))  # what a link points to, not the link
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file: choose another path")
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
