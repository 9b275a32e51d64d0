"""Networks written as ONNX files."""

from os import PathLike
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, checker, helper

from portanet.checks import check_flag, check_input_shape, check_path, shown
from portanet.files import write_atomically
from portanet.graph.order import flattens_first, takes_ids
from portanet.layers.base import Layer, check_layer
from portanet.layers.graph import Graph, first_layers, name_values
from portanet.layers.sizes import unchanged_on_error
from portanet.onnx.exporters import GraphBuilder, Value, check_exportable, export_layer
from portanet.tree import is_shape
from portanet.version import __version__

__all__ = ["export"]

OPSET, IR_VERSION = 21, 10
"""The operator set and the file format of ONNX 1.16, of 2024, which other tools know."""


def export(net: Layer, path: str | PathLike[str], input_shape: Any, *, channels_first: bool = True) -> None:
    """
    Write a network as an ONNX file, which computes what the network does in inference.

    The file has an input "input" and an output "output", of the dtype of the network and for batches of any size; those
    of a :class:`portanet.Graph` have its names. An input of ids, which an Embedding takes, is of int64. The file is
    written completely or not at all.

    Parameters
    ----------
    net : Layer
        Made of layers of PortaNet; layers without values are drawn from seed 0.
    path : path-like
        The file.
    input_shape : tuple of int
        Shape of one input, without the batch axis, channels-last as in PortaNet; for several inputs, a tuple or dict of
        shapes. The file takes sequences of this length.
    channels_first : bool
        Whether inputs and outputs of the file have the order (N, C, ...) of other tools, where they have three axes or
        more. Otherwise they have PortaNet's order, (N, ..., C). Inputs of three axes that the network flattens first,
        such as images (N, H, W), have no channels and keep their order, and so do ids.

    Raises
    ------
    ValueError
        If a layer has no operators in ONNX, such as one of your own, or does not take inputs of this shape; the
        network is as before.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Conv2D(3, 8, 3), portanet.ReLU(), portanet.GlobalAvgPool())
    >>> export(net, "net.onnx", (32, 32, 3))
    >>> import onnx
    >>> model = onnx.load("net.onnx")
    >>> [node.op_type for node in model.graph.node]
    ['Conv', 'Relu', 'GlobalAveragePool', 'Flatten']
    >>> [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    ['N', 3, 32, 32]
    """
    path = check_path("path", path)
    check_layer("net", net)
    with unchanged_on_error(net):
        model = to_model(net, input_shape, channels_first=channels_first)
        write_atomically(path, model.SerializeToString())


def to_model(net: Layer, input_shape: Any, *, channels_first: bool = True) -> ModelProto:
    """Return the model that :func:`export` writes."""
    shape = check_input_shape("input_shape", input_shape)
    check_flag("channels_first", channels_first)
    check_exportable(net)
    if net.topology.unsized:
        net.build(shape)
    net.output_shape(shape)
    backend, dtype = net._ready()
    names = {array: name for name, array in net._named_arrays().items()}
    graph = GraphBuilder(names, backend.to_numpy, dtype)
    inputs = _inputs(net, shape, dtype, channels_first)
    x = {name: value for name, (value, _) in inputs.items()}
    y = export_layer(graph, net, x if isinstance(net, Graph) else x["input"])
    if not isinstance(net, Graph) and not isinstance(y, Value):
        raise ValueError(f"net must be a Graph to be exported with several outputs, got {shown(net)}")
    outputs = y if isinstance(y, dict) else name_values(net.outputs if isinstance(net, Graph) else "output", y)
    results = {name: graph.in_order(value, channels_first=channels_first) for name, value in outputs.items()}
    for name, result in results.items():
        # A value that is an input, or is returned twice, gets a node of its own.
        once = result not in inputs and [*results.values()].count(result) == 1
        graph.rename(result if once else graph.node("Identity", result), name)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(net).__name__,
            [_described(name, value.shape, kind, value.is_channels_first) for name, (value, kind) in inputs.items()],
            [
                _described(name, value.shape, dtype, channels_first and len(value.shape) > 1)
                for name, value in outputs.items()
            ],
            list(graph.initializers.values()),
        ),
        producer_name="PortaNet",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    checker.check_model(model, full_check=True)
    return model


def _inputs(net: Layer, shape: Any, dtype: str, channels_first: bool) -> dict[str, tuple[Value, str]]:
    """Return the value and dtype of each input of the file, by name."""
    if not isinstance(net, Graph) and not is_shape(shape):
        raise ValueError(f"net must be a Graph to be exported with several inputs, got {shown(net)}")
    shapes = net.by_name(shape) if isinstance(net, Graph) else {"input": shape}
    takers = first_layers(net, shapes) if isinstance(net, Graph) else [net]
    inputs = {}
    for (name, own), taker in zip(shapes.items(), takers, strict=True):
        given = "int64" if takes_ids(taker) else dtype
        spatial = channels_first and given == dtype and len(own) > (2 if flattens_first(taker) else 1)
        inputs[name] = Value(name, own, spatial), given
    return inputs


def _described(name: str, shape: tuple[int, ...], dtype: str, channels_first: bool) -> ValueInfoProto:
    """Return name, dtype and shape of an input or output, for batches of any size N."""
    lengths = (shape[-1], *shape[:-1]) if channels_first else shape
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", *lengths])
