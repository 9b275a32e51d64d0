"""PyTorch modules as networks of PortaNet."""

import inspect
import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from portanet import layers
from portanet.backends import Backend, get_backend
from portanet.checks import check_input_shape
from portanet.graph import Node, NoLayer
from portanet.graph.network import build_network, import_graph
from portanet.interop.checks import check_dropout, check_in_place, check_module, dtype_of
from portanet.interop.modules import MODULES
from portanet.interop.sequence_modules import ALL_STATES, LAST_STATE

__all__ = ["from_torch"]


def _module(**arguments: Any) -> dict[str, Any]:
    """Return the attributes of a node whose arguments are those of a module."""
    return {"module": SimpleNamespace(**arguments)}


def _max_pool(  # noqa: PLR0917 (as in PyTorch)
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> dict[str, Any]:
    return {"module": SimpleNamespace(**locals())}


def _avg_pool(  # noqa: PLR0917 (as in PyTorch)
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> dict[str, Any]:
    return {"module": SimpleNamespace(**locals())}


ACTIVATIONS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "gelu": ("GELU", lambda approximate="none": _module(approximate=approximate)),
    "elu": ("ELU", lambda alpha=1.0, inplace=False: _module(alpha=alpha)),
    "celu": ("CELU", lambda alpha=1.0, inplace=False: _module(alpha=alpha)),
    "leaky_relu": ("LeakyReLU", lambda negative_slope=0.01, inplace=False: _module(negative_slope=negative_slope)),
    "hardtanh": (
        "Hardtanh",
        lambda min_val=-1.0, max_val=1.0, inplace=False: _module(min_val=min_val, max_val=max_val),
    ),
    "softplus": ("Softplus", lambda beta=1, threshold=20: _module(beta=beta, threshold=threshold)),
    "logsigmoid": ("LogSigmoid", lambda: {}),
    "log_sigmoid": ("LogSigmoid", lambda: {}),
    "relu6": ("ReLU6", lambda inplace=False: {}),
    "mish": ("Mish", lambda inplace=False: {}),
    "hardswish": ("Hardswish", lambda inplace=False: {}),
    "selu": ("SELU", lambda inplace=False: {}),
}
"""The module with the same arguments for each function, and its attributes, as in :data:`FUNCTIONS`."""

FUNCTIONS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "add": ("Add", lambda: {}),
    "iadd": ("Add", lambda: {}),
    "cat": ("Concat", lambda dim=0: {"axis": dim}),
    "concat": ("Concat", lambda dim=0: {"axis": dim}),
    "relu": ("Relu", lambda inplace=False: {}),
    "tanh": ("Tanh", lambda: {}),
    "sigmoid": ("Sigmoid", lambda: {}),
    "silu": ("torch.nn.SiLU", lambda inplace=False: {}),
    "log_softmax": ("LogSoftmax", lambda dim=-1: {"axis": dim}),
    "softmax": ("Softmax", lambda dim=-1: {"axis": dim}),
    **{name: (f"torch.nn.{kind}", arguments) for name, (kind, arguments) in ACTIVATIONS.items()},
    "max_pool1d": ("torch.nn.MaxPool1d", _max_pool),
    "max_pool2d": ("torch.nn.MaxPool2d", _max_pool),
    "avg_pool1d": ("torch.nn.AvgPool1d", _avg_pool),
    "avg_pool2d": ("torch.nn.AvgPool2d", _avg_pool),
    "dropout": ("torch.nn.Dropout", lambda p=0.5, training=True, inplace=False: _module(p=p)),
    "flatten": ("Flatten", lambda start_dim=0: {"axis": start_dim}),
}
"""Functions and methods of tensors: the node that each becomes, and its attributes by the further arguments."""

MODULE_FORMS = {
    **{f"adaptive_{kind}_pool{n}d": f"nn.Adaptive{kind.title()}Pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)},
    **{f"{kind}_pool3d": f"nn.{kind.title()}Pool3d" for kind in ("avg", "max")},
    **{"interpolate": "nn.Upsample", "pad": "nn.ConstantPad2d", "layer_norm": "nn.LayerNorm", "linear": "nn.Linear"},
    **{"group_norm": "nn.GroupNorm", "batch_norm": "nn.BatchNorm2d", "prelu": "nn.PReLU", "glu": "nn.GLU"},
}
"""Modules to use instead of functions that are refused."""

NOT_ARGUMENTS = ("_stacklevel", "dtype", "tensors", "input")
"""Arguments by name that are no attributes of a node."""


def from_torch(module: Any, input_shape: Any, *, device: str | Backend | None = None) -> layers.Sequential:
    """
    Return a network with the layers and the weights of a PyTorch module.

    It takes channels-last inputs: (N, H, W, C) where the module takes (N, C, H, W). Weights are transposed accordingly,
    also those of the first Linear after a Flatten. Outputs and gradients are equal up to rounding. Parameters that
    require no gradient are frozen.

    Parameters
    ----------
    module : torch.nn.Module
        ``nn.Sequential``, or a module whose ``forward`` calls modules and functions without conditions on data, so that
        ``torch.fx`` can trace it. Sums of branches become :class:`portanet.Residual`, ``torch.cat`` becomes
        :class:`portanet.Parallel`.
    input_shape : tuple of int
        Shape of one input of the module, without the batch axis: (C, H, W) for images, (T,) for ids, (T, C) for a
        module such as ``nn.LSTM(batch_first=True)``.
    device : str, optional
        Where to put the network.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If a module or function cannot become a layer, overwrites a value that is used again, or has hooks or tied
        weights, or if parameters are not of float32 or float64; the message names it.

    Examples
    --------
    >>> from torch import nn
    >>> module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    >>> net = from_torch(module, (3, 8, 8))
    >>> net
    Sequential(Conv2D(3, 8, 3), ReLU(), Flatten(), Linear(288, 10))
    >>> net(np.zeros((5, 8, 8, 3), dtype="float32")).shape
    (5, 10)
    """
    check_module(module)
    shape, backend = check_input_shape("input_shape", input_shape), get_backend(device)
    dtype, (source, nodes, target) = dtype_of(module), _traced(module)
    flow = import_graph(source, shape, nodes, target)
    return build_network(layers.Sequential(*flow.layers), flow.arrays, dtype, backend)


def _traced(module: Any) -> tuple[str, list[Node], str]:
    """Return the name of the input, the nodes, and the name of the output."""
    inner, seen = dict(module.named_modules(remove_duplicate=False)), set()
    graph = _graph_of(module)
    check_in_place(graph, inner)
    check_dropout(graph, module, _graph_of)
    nodes, sources, target = [], [], ""
    for node in graph.nodes:
        if node.op == "placeholder":
            sources.append(node.name)
        elif node.op == "output":
            target = getattr(node.args[0], "name", "")
        elif node.op == "call_module":
            called = inner[node.target]
            if id(called) in seen and list(called.parameters()):
                raise ValueError(f"module {node.target!r} is called twice: two layers would learn different weights")
            seen.add(id(called))
            nodes.append(_of_module(node, inner[node.target]))
        elif (path := _path(node, inner)) is not None:
            call, indices = path
            nodes += _of_output(node, inner[call.target], call.name, indices)
        elif not _is_shape(node):
            nodes.append(_of_function(node))
    if len(sources) != 1 or not target:
        raise ValueError("module must have one input and one output")
    return sources[0], nodes, target


SEVERAL_OUTPUTS = ("RNN", "GRU", "LSTM", "MultiheadAttention")
"""Modules that return a tuple."""

LAST_POSITION = (slice(None), -1)
"""The index in ``y[:, -1]``."""

LAST_PATHS: list[tuple[str, tuple[Any, ...]]] = [
    *((name, (0, LAST_POSITION)) for name in ("RNN", "GRU", "LSTM")),
    *(("RNN", (1, -1)), ("GRU", (1, -1)), ("LSTM", (1, 0, -1))),
]
"""Modules, and the indices that take the last state of their last layer, in order."""


def _path(node: Any, inner: dict[str, Any]) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the call of a module with several outputs, and the indices that lead from it to a node."""
    path: tuple[Any, ...] = ()
    while node.op == "call_function" and node.target is operator.getitem and _is_node(node.args[0]):
        node, path = node.args[0], (node.args[1], *path)
    is_known = node.op == "call_module" and type(inner[node.target]).__name__ in SEVERAL_OUTPUTS
    return (node, path) if is_known and path else None


def _of_output(node: Any, module: Any, source: str, path: tuple[Any, ...]) -> list[Node]:
    """Return the node of an output of a module; no node if only parts of the output are used."""
    title = f"{node.name!r} (getitem)"
    kind = LAST_STATE if (type(module).__name__, path) in LAST_PATHS else ALL_STATES
    if kind == LAST_STATE or (path == (0,) and _is_used(node)):
        return [Node(title, kind, (source,), (node.name,), {}, [None])]
    if _is_used(node):
        raise NoLayer(title, "it is neither all states nor the last one")
    return []


def _is_used(node: Any) -> bool:
    """Whether a node has a user other than those that take a part of it."""
    return any(user.target is not operator.getitem for user in node.users)


def _graph_of(module: Any) -> Any:
    """Return the graph of ``torch.fx``; modules with an importer are not traced inside."""
    from torch import fx

    class Proxy(fx.Proxy):
        def __iadd__(self, other: Any) -> Any:  # without it, ``x += y`` looks like ``x + y``, which leaves x as it is
            return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    class Tracer(fx.Tracer):
        def proxy(self, node: Any) -> Any:
            return Proxy(node, self)

        def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
            return _is_known(m) or super().is_leaf_module(m, module_qualified_name)

    if _is_known(module) or not list(module.children()):
        return _single(module)
    try:
        return Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, LookupError) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"module cannot be traced ({why}): its forward must not depend on values of tensors"
        ) from error


def _is_shape(node: Any) -> bool:
    """Whether a node is ``x.size(0)``, ``x.shape`` or a length of it."""
    if node.op == "call_method":
        return bool(node.target == "size")
    first = node.args[0] if node.args else None
    is_attribute = node.target is getattr and node.args[1:] == ("shape",)
    return is_attribute or (node.target is operator.getitem and _is_node(first) and _is_shape(first))


def _single(module: Any) -> Any:
    """Return the graph of one call of a module: a trace would enter it."""
    from torch import fx

    graph = fx.Graph()
    graph.output(graph.call_module("", (graph.placeholder("x"),)))
    return graph


def _is_known(module: Any) -> bool:
    """Whether a module is of a class of PyTorch, or of :func:`portanet.interop.to_torch`, that has an importer."""
    kind = type(module)
    return kind.__name__ in MODULES and kind.__module__.startswith(("torch.nn.", "portanet.interop."))


def _of_module(node: Any, module: Any) -> Node:
    kind = f"torch.nn.{type(module).__name__}"
    title = f"module {node.target!r} ({type(module).__name__})"
    if not _is_known(module):
        raise NoLayer(title, "there is no layer for this module")
    if given := [name for name, value in node.kwargs.items() if (name, value) != ("need_weights", False)]:
        raise NoLayer(title, f"its argument {given[0]!r} is not supported")
    if not all(map(_is_node, node.args)):
        raise NoLayer(title, "its arguments are not all tensors")
    inputs = tuple(value.name for value in node.args)
    return Node(title, kind, inputs, (node.name,), {"module": module}, [None] * len(inputs))


def _of_function(node: Any) -> Node:
    """Return the node of a function or a method of a tensor."""
    name = node.target if isinstance(node.target, str) else node.target.__name__
    if name == "fn":  # functions of torch.nn.functional that dispatch on a flag
        name = node.name.rstrip("_0123456789")
    title = f"{node.name!r} ({name})"
    if node.op == "get_attr":
        raise NoLayer(title, "it is a tensor of the module itself")
    if name in ("view", "reshape"):
        return _reshape(node, title)
    if name not in FUNCTIONS and node.target is not operator.add:
        advice = f": write {MODULE_FORMS[name]} in __init__ and call it" if name in MODULE_FORMS else ""
        raise NoLayer(title, f"no layer is known for this function{advice}")
    kind, attributes = FUNCTIONS[name]
    values, others = _arguments(node)
    if not all(map(_is_node, values)):
        raise NoLayer(title, f"some of its inputs {values} are no tensors")
    names = tuple(value.name for value in values)
    others_by_name = {key: value for key, value in node.kwargs.items() if key not in NOT_ARGUMENTS}
    try:
        found = attributes(**_named_arguments(attributes, others), **others_by_name)
    except TypeError as error:
        raise NoLayer(title, f"{_why(error)}") from error
    return Node(title, kind, names, (node.name,), found, [None] * len(names))


def _why(error: TypeError) -> str:
    """Return what is wrong with the arguments of a function of :data:`FUNCTIONS`, without its name."""
    return str(error).replace("<lambda>() ", "it ")


def _arguments(node: Any) -> tuple[list[Any], list[Any]]:
    """Return the inputs and the other positional arguments of a function."""
    first, *rest = node.args or (node.kwargs.get("tensors", node.kwargs.get("input")),)
    if isinstance(first, (list, tuple)):
        return [*first], rest
    return [first, *filter(_is_node, rest)], [value for value in rest if not _is_node(value)]


def _is_node(value: Any) -> bool:
    return hasattr(value, "op")


def _named_arguments(function: Callable[..., Any], values: list[Any]) -> dict[str, Any]:
    """Return positional arguments by name."""
    names = tuple(inspect.signature(function).parameters)
    if len(values) > len(names):
        raise TypeError(f"its argument {values[len(names)]!r} is not supported")
    return dict(zip(names, values, strict=False))


def _reshape(node: Any, title: str) -> Node:
    """Return the node of ``x.view(n, -1)``, where n may be the number of examples."""
    x, *lengths = node.args
    lengths = [*lengths[0]] if len(lengths) == 1 and isinstance(lengths[0], (list, tuple)) else lengths
    rest = lengths[1:]
    if lengths and isinstance(lengths[0], int) and lengths[0] != -1:
        raise NoLayer(title, f"its first length is {lengths[0]}, not the batch's")
    if not all(isinstance(n, int) for n in rest):
        raise NoLayer(title, f"its lengths {rest} are no numbers")
    shape = np.asarray([0, *rest])
    return Node(title, "Reshape", (x.name, "shape"), (node.name,), {}, [None, shape])
