"""Networks of PortaNet as PyTorch modules, and weights of PyTorch in networks of PortaNet."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from portanet.backends import host_array
from portanet.checks import check_input_shape, check_path
from portanet.files import as_file_errors, read_regular
from portanet.graph.order import flattens_first, takes_ids
from portanet.interop import builders, sequence_builders
from portanet.interop.table import Binding, Context
from portanet.layers.base import Layer, check_layer
from portanet.layers.sizes import unchanged_on_error
from portanet.parameters import Parameter
from portanet.typing import Shape

FAMILIES = (builders, sequence_builders)
"""Each module adds its layers to the table."""

__all__ = ["load_state_dict", "to_torch"]


def to_torch(net: Layer, input_shape: Any = None) -> Any:
    """
    Return a PyTorch module with the layers and the weights of a network.

    It takes channels-first inputs: (N, C, H, W) where the network takes (N, H, W, C). A Linear after a Flatten has its
    weights in PyTorch's order. Outputs and gradients are equal up to rounding. Frozen parameters require no gradient; a
    BatchNorm that is frozen keeps its running statistics, in PyTorch only after ``module.eval()``.

    Parameters
    ----------
    net : Layer
        Layers without values are drawn from seed 0.
    input_shape : tuple of int, optional
        Shape of one input of the network, channels-last, without the batch axis. It is needed where the layers do not
        tell the number of axes: an Embedding, or a BatchNorm of images before any convolution, for instance. Without
        it, the inputs of a Linear are taken as rows. Inputs of three axes that the network flattens first have no
        channels.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If PyTorch has no module for a layer, or for its arguments; the network is as before.

    Examples
    --------
    >>> from portanet import Conv2D, Flatten, Linear, ReLU, Sequential
    >>> to_torch(Sequential(Conv2D(3, 8, 3), ReLU(), Flatten(), Linear(288, 10)))
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
      (2): Flatten(start_dim=1, end_dim=-1)
      (3): Linear(in_features=288, out_features=10, bias=True)
    )
    """
    import torch

    check_layer("net", net)
    with unchanged_on_error(net), torch.no_grad():
        module, bindings = _bound(net, input_shape)
        backend, dtype = net._ready()
        module.to(getattr(torch, dtype))
        for binding in bindings:
            values = binding.to_torch(np.asarray(backend.to_numpy(binding.array.data)))
            binding.part.copy_(torch.from_numpy(np.array(values)))
            if isinstance(binding.array, Parameter):
                binding.tensor.requires_grad_(not binding.array.frozen)
    return module


def _bound(net: Layer, input_shape: Any, *, weights_only: bool = False) -> tuple[Any, list[Binding]]:
    """Return a module with other weights than the network, and the tensor of each array."""
    from portanet.interop import torch_modules

    context = Context(torch_modules, weights_only, is_input=flattens_first(net))
    if input_shape is not None:
        shape = check_input_shape("input_shape", input_shape)
        _ = net.build(shape) if net.topology.unsized else net.output_shape(shape)
        context.ndim, context.channels = len(shape) + 1, None if takes_ids(net) else shape[-1]
    net._check_sized()
    context.shared = {array for name, array in net._named_arrays().items() if name in net.topology.shared.values()}
    return builders.build(context, net), context.bindings


def load_state_dict(net: Layer, weights: Any, input_shape: Any = None) -> None:
    """
    Give a network the weights of a PyTorch module with the same layers.

    Names, and the order of the numbers, are those of ``to_torch(net).state_dict()``: ``"0.weight"`` for the first layer
    of a Sequential, ``"branch.0.weight"`` within a Residual. Weights of bfloat16 and float16 are converted.

    Parameters
    ----------
    net : Layer
        Its weights are overwritten, all or none.
    weights : path-like or mapping of str to array
        A safetensors file, or what ``module.state_dict()`` returns.
    input_shape : tuple of int, optional
        See :func:`to_torch`.

    Raises
    ------
    ValueError
        If names, shapes or dtypes do not fit; the network is as before.
    FileFormatError
        If the file is damaged.

    Examples
    --------
    >>> from torch import nn
    >>> module = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.ReLU())
    >>> load_state_dict(net, module.state_dict())
    >>> bool(np.all(net[0].weight.data == module[0].weight.detach().numpy().T))
    True
    """
    check_layer("net", net)
    with unchanged_on_error(net):
        module, bindings = _bound(net, input_shape, weights_only=True)
        state = module.state_dict()
        arrays = _fitting(_read(weights), {_plain(name): tuple(tensor.shape) for name, tensor in state.items()})
        tensors = (*module.named_parameters(), *module.named_buffers())
        names = {id(tensor): _plain(name) for name, tensor in tensors}
        own = {array: name for name, array in net._named_arrays().items()}
        found = net.get_weights()
        for binding in bindings:
            name = names[id(binding.tensor)]
            if name in arrays:
                found[own[binding.array]] = binding.from_torch(arrays[name])
        net.set_weights(found)


def _plain(name: str) -> str:
    """Leave the modules out of a name that :mod:`portanet.interop.torch_modules` puts around those of PyTorch."""
    return ".".join(part for part in name.split(".") if part != "module")


def _fitting(arrays: dict[str, np.ndarray], expected: dict[str, Shape]) -> dict[str, np.ndarray]:
    """Return arrays, by names without wrappers, whose names and shapes are the expected ones."""
    arrays = {_plain(name): values for name, values in arrays.items()}
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    if odd := sorted((arrays.keys() ^ expected.keys()) - optional):
        raise ValueError(f"weights must have the names {', '.join(expected)}; missing or unknown: {', '.join(odd)}")
    for name, values in arrays.items():
        if values.shape != expected[name]:
            raise ValueError(f"weights[{name!r}] must have shape {expected[name]}, got {values.shape}")
    return arrays


def _read(weights: Any) -> dict[str, np.ndarray]:
    """Return arrays by name, of a mapping or a safetensors file."""
    if isinstance(weights, Mapping):
        return {name: _to_numpy(name, values) for name, values in weights.items()}
    if not isinstance(weights, (str, PathLike)):
        raise TypeError(f"weights must be a path or a mapping of names to tensors, got {type(weights).__name__}")
    from safetensors.torch import load

    path = check_path("weights", weights)
    content = read_regular(path)
    with as_file_errors(path):
        try:
            tensors: Mapping[str, Any] = load(content)
        except Exception as error:
            raise ValueError("it is no safetensors file") from error
        return {name: _to_numpy(name, tensor) for name, tensor in tensors.items()}


def _to_numpy(name: str, values: Any) -> np.ndarray:
    """Copy a tensor to the host; floats of two bytes or fewer, which NumPy may lack, become float32."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy()
    return host_array(values, name=f"weights[{name!r}]")
