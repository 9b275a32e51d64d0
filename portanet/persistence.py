"""Reading a saved network."""

from os import PathLike

from portanet.backends import Backend
from portanet.checks import check_path
from portanet.files import read_network
from portanet.layers.base import Layer


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
        With the weights and buffers it was saved with; frozen layers are frozen.

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
    path = check_path("path", path)
    if path.is_dir():
        raise ValueError(f"path {path} is a folder: give the file that net.save(...) wrote")
    try:
        net, arrays, dtype = read_network(path)
        net.initialize(device=device, dtype=dtype)
        net.set_weights(arrays)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    loaded: Layer = net
    return loaded
