"""
Networks as arrays and texts: weights under readable names, and the architecture as JSON.

Nothing in it is code: reading it calls the constructors of registered classes, and no others.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from portanet.checks import check_dtype, shown
from portanet.config import from_json, to_json
from portanet.files import parse_json
from portanet.schema import first_mismatch

FORMAT = "portanet 3"

TRAINER = "trainer/"
"""Prefix of the names of arrays that belong to the training, and not to the network."""


def describe_network(net: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """
    Return the arrays and the metadata of a file, from which :func:`build_network` builds the network again.

    Raises
    ------
    ValueError
        If the architecture cannot be built again from the layers' constructor arguments.
    """
    architecture = to_json(net)
    _check_rebuilt(net, from_json(architecture), net.topology.shared)
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(architecture),
        "dtype": net.flat.dtype,
        "shared": json.dumps(net.topology.shared),
        "frozen": json.dumps(sorted(net.topology.frozen)),
    }
    return net.get_weights(), metadata


def build_network(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Any:
    """
    Build the network that the metadata describe, without values; the arrays fit it.

    Raises
    ------
    Exception
        Of any type, if the metadata are not those of a network, or the arrays do not fit it.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError("it was not written by net.save, or was written by another version of PortaNet")
    net = from_json(parse_json(metadata["architecture"]))
    if not hasattr(net, "topology"):
        raise ValueError(f"it describes {shown(net)}, which is no layer")
    shared, frozen = parse_json(metadata["shared"]), parse_json(metadata["frozen"])
    if first_mismatch(shared, {...: str}):
        raise ValueError(f"it says that {shown(shared)} is shared, which is no mapping of names to names")
    for name, first in shared.items():
        _share(net, name, first)
    if first_mismatch(frozen, [str]) or not set(frozen) <= {*net.topology.layers, *net.topology.parameters}:
        raise ValueError(f"it says that {shown(frozen)} is frozen, which is no list of layers and parameters")
    net._freeze_only(set(frozen))
    _check_arrays(net, arrays, check_dtype(metadata["dtype"]))
    return net


def _check_arrays(net: Any, arrays: Mapping[str, np.ndarray], dtype: str) -> None:
    """Compare names, shapes and dtypes, before any array of the network is made."""
    topology = net.topology
    kept = {**topology.parameters, **topology.buffers}
    if arrays.keys() != kept.keys():
        odd = ", ".join(sorted(arrays.keys() ^ kept.keys()))
        raise ValueError(f"its arrays and its architecture differ: {odd} is in one of them only")
    for name, values in arrays.items():
        shape = kept[name].shape
        if values.shape != shape:
            raise ValueError(f"{name} has shape {values.shape}, but the architecture gives {shape}")
        expected = np.dtype(dtype)
        if name in topology.buffers:
            drawn = topology.buffers[name].init(shape, np.random.default_rng(0))
            expected = expected if drawn.dtype.kind == "f" else drawn.dtype
        if values.dtype != expected:
            raise ValueError(f"{name} has dtype {values.dtype}, but the architecture gives {expected}")


def _check_rebuilt(net: Any, rebuilt: Any, shared: dict[str, str]) -> None:
    """Refuse to save a network that its constructor arguments do not describe."""
    for name, first in shared.items():
        _share(rebuilt, name, first)
    if found := find_difference(net, rebuilt):
        name, is_now, would_be = found
        raise ValueError(
            f"{type(net).__name__} cannot be saved: its part {name!r} is {is_now}, but the constructor's arguments "
            f"give {would_be}: change the arguments too, or build the network from layers such as Sequential"
        )


def find_difference(net: Any, other: Any) -> tuple[str, str, str] | None:
    """Return the name of the first part in which two networks differ, and what it is in each; None if there is none."""
    ours, theirs = _parts(net), _parts(other)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return name, _describe(net, name), _describe(other, name)
    return None


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
    arrays = {**topology.parameters, **topology.buffers}
    value, own = arrays[first], arrays.get(name)
    if own is None or type(own) is not type(value) or own.shape != value.shape:
        raise ValueError(f"{name!r} cannot be the same array as {first!r}, which is another kind of array")
    setattr(topology.layers[layer], attribute, value)
