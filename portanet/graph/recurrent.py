"""
Recurrent operators as layers, and the order of their gates.

ONNX's operators take the positions as the first axis and return an axis of directions, so that files have a few nodes
that put the axes right before and after each. These nodes and the operator become one node first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from portanet import layers
from portanet.graph.flow import Flow, Node
from portanet.graph.table import imports


@dataclass(frozen=True)
class Gates:
    """
    The gates of an operator.

    Parameters
    ----------
    order : tuple of int
        For each gate in ONNX, that in PortaNet.
    attributes : dict of str to object
        With which the operator computes what the layer does.
    """

    order: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


GATES = {
    "RNN": Gates((0,)),
    "GRU": Gates((1, 0, 2), {"linear_before_reset": 1}),
    "LSTM": Gates((0, 3, 1, 2)),
}
"""Gates by operator: r z n of a GRU are z r h in ONNX, and i f g o of an LSTM are i o f c."""

DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(["activation_alpha", "activation_beta", "clip"]),
    **{"input_forget": 0, "linear_before_reset": 0},
}
"""Attributes that change what an operator computes, with ONNX's defaults."""

ACTIVATIONS = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
"""Activations of one direction, as the layers have them."""

Step: TypeAlias = tuple[str, tuple[int, ...]]
"""An operator that changes the axes, and its numbers."""

FIRST_TWO: Step = ("Transpose", (1, 0, 2))

AFTER: dict[tuple[int, int, bool], list[Step]] = {
    (0, 0, False): [("Squeeze", (1,)), FIRST_TWO],
    (0, 0, True): [("Transpose", (0, 2, 1, 3)), ("Reshape", (0, 0, -1)), FIRST_TWO],
    (0, 1, False): [("Squeeze", (0,))],
    (1, 0, False): [("Squeeze", (2,))],
    (1, 1, False): [("Squeeze", (1,))],
}
"""The nodes after an operator, by its layout, the number of its output, and whether it has two directions."""


def to_onnx(kind: str, values: np.ndarray) -> np.ndarray:
    """
    Return a weight (in, gates * H) as ONNX's (gates * H, in), or a bias (gates * H) in its order.

    Examples
    --------
    >>> to_onnx("LSTM", np.asarray([1, 2, 3, 4]))
    array([1, 4, 2, 3])
    """
    return _in_order(GATES[kind].order, values.T)


def from_onnx(kind: str, values: np.ndarray) -> np.ndarray:
    """
    Return what :func:`to_onnx` was given.

    Examples
    --------
    >>> from_onnx("LSTM", np.asarray([1, 4, 2, 3]))
    array([1, 2, 3, 4])
    """
    return _in_order(np.argsort(GATES[kind].order), values).T


def _in_order(order: Any, values: np.ndarray) -> np.ndarray:
    """Put the blocks of the first axis in another order."""
    blocks = values.reshape(len(order), -1, *values.shape[1:])
    return blocks[list(order)].reshape(values.shape)


def join_recurrent(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes in which each recurrent operator with its transpositions is one node, from (N, T, D)."""
    joined = list(nodes)
    for node in nodes:
        if node.operator in GATES:
            _join(joined, node)
    return joined


def _join(nodes: list[Node], node: Node) -> None:
    """Put one node in place of an operator and the nodes around it, if these are as :data:`AFTER` says."""
    layout, source = node.get("layout", 0), node.inputs[0]
    before = next((other for other in nodes if source in other.outputs), None)
    if not layout and (before is None or _step(before) != FIRST_TWO):
        return
    named = [(i, name) for i, name in enumerate(node.outputs) if name]
    used = [(i, name) for i, name in named if any(name in other.inputs for other in nodes)]
    is_bidirectional = node.get("direction", "forward") == "bidirectional"
    steps = AFTER.get((layout, used[0][0], is_bidirectional)) if len(used) == 1 else None
    chain = [] if steps is None else _chain(nodes, used[0][1], steps)
    if not chain:
        return
    inputs = node.inputs if layout or before is None else (before.inputs[0], *node.inputs[1:])
    attributes = {**node.attributes, "return_sequences": used[0][0] == 0}
    nodes[nodes.index(chain[-1])] = replace(node, inputs=inputs, outputs=chain[-1].outputs, attributes=attributes)
    for old in (node, *chain[:-1]):
        nodes.remove(old)
    if not layout and before is not None and not any(source in other.inputs for other in nodes):
        nodes.remove(before)


def _chain(nodes: Sequence[Node], name: str, steps: list[Step]) -> list[Node]:
    """Return the nodes that use a value one after the other, if they are these steps; else none."""
    chain: list[Node] = []
    for step in steps:
        users = [other for other in nodes if name in other.inputs]
        if len(users) != 1 or _step(users[0]) != step:
            return []
        chain.append(users[0])
        name = users[0].outputs[0]
    return chain


def _step(node: Node) -> Step | None:
    """Return an operator that changes the axes, and its numbers."""
    names = {"Transpose": "perm", "Squeeze": "axes", "Reshape": "shape"}
    numbers = node.given(names[node.operator], 1) if node.operator in names else None
    return None if numbers is None else (node.operator, tuple(int(n) for n in np.ravel(numbers)))


@imports(*GATES)
def import_recurrent(flow: Flow, node: Node) -> None:
    """With zeros as the first state, and ONNX's own activations."""
    kind, return_sequences = node.operator, node.get("return_sequences")
    if return_sequences is None:
        raise node.error("its output is neither all states (N, T, H) nor the last one (N, H)")
    flow.need_channels_last(node)
    _check_computed(node)
    arrays = [_direction(node, i) for i in range(len(node.weight(1)))]
    n_in, n_out = arrays[0]["weight_ih"].shape
    backwards = node.get("direction", "forward") == "reverse"
    layer = getattr(layers, kind)(
        *(n_in, n_out // len(GATES[kind].order)), return_sequences=return_sequences, go_backwards=backwards
    )
    if len(arrays) == 1:
        flow.add(layer, **arrays[0])
    else:
        both = layers.Bidirectional(layer)
        for each, given in zip(both.branches, arrays, strict=True):
            flow.branch().add(each, **given)
        flow.add(both)
    flow.axes = (0, 1, 2) if return_sequences else (0, 1)


def _direction(node: Node, i: int) -> dict[str, np.ndarray]:
    """Return the weights of one direction by PortaNet's names."""
    kind, w, r = node.operator, node.weight(1), node.weight(2)
    b = np.zeros((len(w), 2 * w.shape[1]), w.dtype) if node.constant(3) is None else node.weight(3)
    b_ih, b_hh = np.split(b[i], 2)
    found = {"weight_ih": w[i], "weight_hh": r[i], "bias_ih": b_ih, "bias_hh": b_hh}
    return {name: from_onnx(kind, values) for name, values in found.items()}


def _check_computed(node: Node) -> None:
    """Refuse a node that computes something else than the layer of its name."""
    for name, default in (DEFAULTS | GATES[node.operator].attributes).items():
        found = node.get(name, DEFAULTS[name])
        if found != default:
            raise node.error(f"its {name} is {found!r}, not {default!r}")
    expected = ACTIVATIONS[node.operator] * len(node.weight(1))
    if [name.lower() for name in node.get("activations", expected)] != expected:
        raise node.error(f"its activations are {node.get('activations')}, not {expected}")
    for i, name in enumerate(node.inputs):
        values = node.constant(i)
        if i > 0 and name and values is None:
            raise node.error(f"its input {i} is no constant")
        if i > 3 and values is not None and (i == 4 or np.any(values != 0)):
            what = "lengths of sequences" if i == 4 else "a first state or weights of the cell"
            raise node.error(f"its input {i} gives {what}, which no layer has")
