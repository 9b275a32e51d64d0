"""Graphs of ONNX, computed node by node on any backend."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, inliner

from portanet.backends import Backend
from portanet.onnx.operators import Operator, find_operator
from portanet.onnx.operators.arrays import dtype_of
from portanet.onnx.protos import array_of, attributes_of, constant_of, named
from portanet.typing import Array

MAX_NODES = 2**16
"""Most nodes of a model whose functions are put in place of their calls."""


@dataclass(frozen=True)
class PreparedNode:
    """
    A node that is ready to run.

    Parameters
    ----------
    proto : NodeProto
    operator : Operator
    attributes : dict of str to object
    last_used : tuple of str
        Names of the values that no later node needs.
    """

    proto: NodeProto
    operator: Operator
    attributes: dict[str, Any]
    last_used: tuple[str, ...]


class Program:
    """
    A model that is ready to run on a backend.

    Parameters
    ----------
    model : ModelProto
        Its functions are put in place of the nodes that call them.
    backend : Backend
        Initializers and constants are copied to it once.

    Raises
    ------
    ValueError, TypeError
        If PortaNet lacks the operator of a node, or the backend the dtype of a value.
    """

    def __init__(self, model: ModelProto, backend: Backend):
        model = inlined(model)
        graph = model.graph
        self.backend = backend
        check_types(graph, backend)
        self.constants = {tensor.name: backend.asarray(array_of(tensor)) for tensor in graph.initializer}
        self.all_inputs = tuple(value.name for value in graph.input)
        self.inputs = tuple(name for name in self.all_inputs if name not in self.constants)
        self.outputs = tuple(value.name for value in graph.output)
        versions = versions_of(model)
        nodes = []
        for node in graph.node:
            if node.op_type == "Constant" and not node.domain:
                self.constants[node.output[0]] = backend.asarray(constant_of(node))
            else:
                nodes.append((node, operator_of(node, versions), attributes_of(node)))
        last_uses = _last_uses([node for node, *_ in nodes], {*self.outputs, *self.constants})
        self.nodes = [PreparedNode(*node, last) for node, last in zip(nodes, last_uses, strict=True)]

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """
        Return the outputs of the graph, on the backend.

        Parameters
        ----------
        inputs : sequence of arrays
            One for each input that has no initializer, or one for each input.
        """
        names = self.all_inputs if len(inputs) == len(self.all_inputs) else self.inputs
        if len(inputs) != len(names):
            raise ValueError(f"inputs must be {len(names)} arrays, for {', '.join(names)}, got {len(inputs)}")
        backend = self.backend
        given = (backend.asarray(array, name=name) for name, array in zip(names, inputs, strict=True))
        values = {**self.constants, **dict(zip(names, given, strict=True)), "": None}
        with backend.activate():
            for node in self.nodes:
                self._compute(node, values)
        return tuple(values[name] for name in self.outputs)

    def _compute(self, node: PreparedNode, values: dict[str, Array]) -> None:
        """Add the outputs of a node to the values, and remove those that are not needed any more."""
        arrays = [values[name] for name in node.proto.input]
        try:
            results = node.operator(self.backend.xp, arrays, node.attributes, len(node.proto.output))
        except Exception as error:
            error.add_note(f"in {named(node.proto)}")
            raise
        values.update(zip(node.proto.output, map(_as_array, results), strict=False))
        for name in node.last_used:
            del values[name]


def _as_array(value: Array) -> Array:
    """Return an array of shape () for a scalar of NumPy, as other libraries do."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def inlined(model: ModelProto) -> ModelProto:
    """
    Return a model without functions of its own.

    Raises
    ------
    ValueError
        If it would have too many nodes: functions that call others twice, and so on, are short in a file.
    """
    if not model.functions:
        return model
    functions = {(function.domain, function.name): function for function in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[NodeProto], callers: tuple[tuple[str, str], ...] = ()) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key in callers:
                raise ValueError(f"the function {key[1]!r} calls itself")
            if key in functions and key not in counts:
                counts[key] = count(functions[key].node, (*callers, key))
            total += counts.get(key, 1)
        return total

    if count(model.graph.node) > MAX_NODES:
        raise ValueError(f"its functions have more than {MAX_NODES} nodes in all")
    return inliner.inline_local_functions(model)


def versions_of(model: ModelProto) -> dict[str, int]:
    """Return the version of each operator set, by domain."""
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}


def operator_of(node: NodeProto, versions: dict[str, int]) -> Operator:
    """
    Return the operator of a node.

    Raises
    ------
    ValueError
        If PortaNet has none of this name, or it lacks an attribute; the message names the node.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    operator = find_operator(domain, node.op_type, versions.get(domain, 1))
    if operator is None:
        raise ValueError(f"{named(node)} cannot be computed: PortaNet has no such operator")
    if unknown := [a.name for a in node.attribute if not operator.has_attribute(a.name)]:
        raise ValueError(f"{named(node)} cannot be computed: its attribute {unknown[0]!r} is not supported")
    return operator


def check_types(graph: GraphProto, backend: Backend) -> None:
    """Refuse a graph with an input or output that is no array, or with a dtype that the backend lacks."""
    for value in (*graph.input, *graph.output):
        kind = value.type.WhichOneof("value")
        if kind not in ("tensor_type", None):  # None: the file gives no type
            raise TypeError(f"{value.name!r} is no array, but a {kind}")
    for number in _dtypes(graph):
        dtype_of(backend.xp, number)


def _dtypes(graph: GraphProto) -> Iterator[int]:
    types = (value.type.tensor_type for value in (*graph.input, *graph.output))
    yield from (kind.elem_type for kind in types if kind.elem_type)
    yield from (tensor.data_type for tensor in graph.initializer)
    for node in graph.node:
        yield from (a.i for a in node.attribute if (node.op_type, a.name) == ("Cast", "to"))
        yield from (a.t.data_type for a in node.attribute if a.HasField("t"))


def _last_uses(nodes: list[NodeProto], outputs: set[str]) -> list[tuple[str, ...]]:
    """Return, for each node, the values that neither a later node nor an output needs."""
    needed, found = outputs | {""}, []
    for node in reversed(nodes):
        last = {*node.input, *node.output} - needed
        needed |= last
        found.append(tuple(last))
    return found[::-1]
