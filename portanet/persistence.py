"""Reading a saved network."""

from os import PathLike

from portanet.backends import Backend, get_backend
from portanet.files import as_file_errors, read_tensors
from portanet.layers.base import Layer
from portanet.saving import TRAINER, build_network


def load(path: str | PathLike[str], *, device: str | Backend | None = None) -> Layer:
    """
    Read a network that :meth:`portanet.Layer.save` wrote, or the one in a checkpoint of a Trainer.

    Nothing in the file is run as code: SECURITY.md says what loading a file can and cannot do.

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
    OSError
        If the file cannot be loaded: FileNotFoundError if there is none.
    FileFormatError
        If it is damaged, was not written by PortaNet, or holds a layer class that is not imported.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.TanH()).initialize(seed=1)
    >>> net.save("net.safetensors")
    >>> copy = load("net.safetensors")
    >>> copy, bool(np.all(copy[0].weight.data == net[0].weight.data))
    (Sequential(Linear(3, 2), TanH()), True)
    """
    backend = get_backend(device)
    arrays, metadata = read_tensors(path)
    arrays = {name: values for name, values in arrays.items() if not name.startswith(TRAINER)}
    with as_file_errors(path):
        net: Layer = build_network(arrays, metadata)
    net._bind_arrays(backend, metadata["dtype"], arrays)
    return net
