"""
Networks in files: one safetensors file holds the weights under readable names and the architecture as JSON.

Nothing in it is code: reading a file calls the constructors of registered classes, and no others.
"""

import json
import os
import secrets
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from portanet.backends import Backend
from portanet.config import from_json
from portanet.layers.base import Layer


def save(net: Layer, path: str | PathLike[str]) -> None:
    """Write a network; see :meth:`portanet.Layer.save`."""
    # safetensors 0.8.0 silently corrupts arrays that are not C-contiguous (its issue 825).
    arrays = {name: np.ascontiguousarray(values) for name, values in net.get_weights().items()}
    metadata = {"format": "portanet 1", "architecture": json.dumps(net.to_json()), "dtype": net.flat.dtype}
    write_atomically(Path(path), to_bytes(arrays, metadata))


def load(path: str | PathLike[str], *, device: str | Backend | None = None) -> Layer:
    """
    Read a network that :meth:`portanet.Layer.save` wrote.

    Parameters
    ----------
    path : path-like
        The file.
    device : str, optional
        Where to put the network; the file does not say where it was.

    Returns
    -------
    Layer
        With the weights and states it was saved with.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, was not written by PortaNet, or holds a layer class that is not imported.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.TanH()).initialize(seed=1)
    >>> net.save("net.safetensors")
    >>> copy = load("net.safetensors")
    >>> copy, bool(np.all(copy[0].weight.data == net[0].weight.data))
    (Sequential(Linear(3, 2), TanH()), True)
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is no complete safetensors file: {error}") from error
    if metadata.get("format") != "portanet 1":
        raise ValueError(f"{path} holds no network that this version of PortaNet can read: save it with net.save(path)")
    try:
        net = from_json(json.loads(metadata["architecture"]))
        if not isinstance(net, Layer):
            raise ValueError(f"the architecture is {net!r}, not a layer")
        net.initialize(device=device, dtype=metadata["dtype"])
        net.set_weights(arrays)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    return net


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
