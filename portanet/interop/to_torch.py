"""Networks of PortaNet as PyTorch modules, and weights of PyTorch in networks of PortaNet."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from portanet.checks import check_input_shape, check_path
from portanet.files import as_file_errors, read_regular
from portanet.graph.order import flattens_first, takes_ids
from portanet.interop import builders, sequence_builders
from portanet.interop.table import Binding, Context
from portanet.layers.base import Layer, check_layer
from portanet.layers.sizes import UnbuiltLayers
from portanet.parameters import Parameter

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
        If PyTorch has no module for a layer, or for its arguments.

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

    module, bindings = _bound(net, input_shape)
    backend, dtype = net._ready()
    module.to(getattr(torch, dtype))
    with torch.no_grad():
        for binding in bindings:
            values = binding.to_torch(np.asarray(backend.to_numpy(binding.kept.data)))
            binding.part.copy_(torch.from_numpy(np.array(values)))
            if isinstance(binding.kept, Parameter):
                binding.tensor.requires_grad_(not binding.kept.frozen)
    return module


def _bound(net: Layer, input_shape: Any) -> tuple[Any, list[Binding]]:
    """Return a module without the weights of a network, and what belongs together in both."""
    from torch import nn

    check_layer("net", net)
    context, before = Context(nn, is_input=flattens_first(net)), UnbuiltLayers(net)
    try:
        if input_shape is not None:
            shape = check_input_shape("input_shape", input_shape)
            _ = net.build(shape) if net.topology.unsized else net.output_shape(shape)
            context.ndim, context.channels = len(shape) + 1, None if takes_ids(net) else shape[-1]
        net._check_sized()
        return builders.build(context, net), context.bindings
    except BaseException:
        before.restore()
        raise


def load_state_dict(net: Layer, weights: Any, input_shape: Any = None) -> None:
    """
    Give a network the weights of a PyTorch module with the same layers.

    Names are those of ``to_torch(net).state_dict()``: ``"0.weight"`` for the first layer of a Sequential,
    ``"branch.0.weight"`` within a Residual.

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
        If names, shapes or dtypes do not fit.
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
    module, bindings = _bound(net, input_shape)
    arrays = {name: np.asarray(values) for name, values in _read(weights).items()}
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    if odd := sorted((arrays.keys() ^ expected.keys()) - optional):
        raise ValueError(f"weights must have the names {', '.join(expected)}; missing or unknown: {', '.join(odd)}")
    for name, values in arrays.items():
        if values.shape != expected.get(name, values.shape):
            raise ValueError(f"weights[{name!r}] must have shape {expected[name]}, got {values.shape}")
    names = {id(tensor): name for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    kept = {array: name for name, array in net._named_arrays().items()}
    found = net.get_weights()
    for binding in bindings:
        name = names[id(binding.tensor)]
        if name in arrays:
            found[kept[binding.kept]] = binding.from_torch(arrays[name])
    net.set_weights(found)


def _read(weights: Any) -> Mapping[str, Any]:
    """Return arrays by name, of a mapping or a safetensors file."""
    if isinstance(weights, Mapping):
        return {name: a.detach().cpu().numpy() if hasattr(a, "detach") else a for name, a in weights.items()}
    if not isinstance(weights, (str, PathLike)):
        raise TypeError(f"weights must be a path or a mapping of names to tensors, got {type(weights).__name__}")
    from safetensors.numpy import load

    path = check_path("weights", weights)
    content = read_regular(path)
    with as_file_errors(path):
        try:
            arrays: Mapping[str, Any] = load(content)
        except Exception as error:
            raise ValueError("it is no safetensors file") from error
    return arrays
