"""
Recurrent operators as layers, and the order of their gates.

ONNX's operators take (T, N, D) and return an axis of directions. Files have nodes before and after each operator that
change the axes. First, these nodes and the operator become one node, from (N, T, D) to (N, T, H) or (N, H).
"""

from collections.abc import Collection, Sequence
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
        For each gate in ONNX, its position in PortaNet.
    attributes : dict of str to object
        Those that the operator needs to compute the same as the layer.
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

AxisChange: TypeAlias = tuple[str, tuple[int, ...]]
"""Transpose with its permutation, Squeeze or Unsqueeze with its axes, or Reshape with its shape."""

MAX_AXES = 8
"""Most numbers of an :data:`AxisChange`."""

FIRST_STATE = 5
"""Position of the first state h among the inputs; the cell c follows it."""

SWAP_FIRST_TWO: AxisChange = ("Transpose", (1, 0, 2))

AFTER: dict[tuple[bool, int, bool], list[AxisChange]] = {
    (False, 0, False): [("Squeeze", (1,)), SWAP_FIRST_TWO],
    (False, 0, True): [("Transpose", (0, 2, 1, 3)), ("Reshape", (0, 0, -1)), SWAP_FIRST_TWO],
    (False, 1, False): [("Squeeze", (0,))],
    (True, 0, False): [("Squeeze", (2,))],
    (True, 1, False): [("Squeeze", (1,))],
}
"""The nodes after an output of an operator, by ``layout == 1``, 0 for all states and 1 for the last h or c, and whether
it has both directions."""


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
    Return the inverse of :func:`to_onnx`.

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


def join_recurrent(nodes: Sequence[Node], targets: Collection[str]) -> list[Node]:
    """
    Return nodes in which each recurrent operator with the nodes around it is one node, which takes (N, T, D).

    First states that a graph computes as zeros are left out; others are (N, H). An operator may follow another one
    directly.
    """
    if not any(node.operator in GATES for node in nodes):
        return list(nodes)
    producers = {name: node for node in nodes for name in node.outputs if name}
    nodes = _needed([_with_plain_states(node, producers) for node in nodes], targets)
    users: dict[str, list[Node]] = {}
    for node in (*nodes, Node("the outputs", "", tuple(targets), (), {}, [])):
        for name in {*node.inputs} - {""}:
            users.setdefault(name, []).append(node)
    replaced: dict[int, Node | None] = {}
    swapped: dict[str, str] = {}  # names of values (T, N, D), and of the same values as (N, T, D)
    for node in nodes:
        if _axis_change(node) == SWAP_FIRST_TWO:
            swapped[node.outputs[0]] = node.inputs[0]
        if node.operator in GATES and (chains := _nodes_after(node, users, swapped)):
            replaced |= {id(old): None for chain in chains.values() for old in chain}
            replaced[id(node)] = _joined(node, swapped, chains)
            for *_, end in chains.values():
                if not _has_batch_first(node) and _axis_change(end) != SWAP_FIRST_TWO:
                    swapped[end.outputs[0]] = end.outputs[0]
    return _needed([new for node in nodes if (new := replaced.get(id(node), node)) is not None], targets)


def _needed(nodes: Sequence[Node], targets: Collection[str]) -> list[Node]:
    """Return the nodes that the outputs need, in order."""
    needed, found = {*targets}, []
    for node in reversed(nodes):
        if needed & {*node.outputs} - {""}:
            needed |= {*node.inputs}
            found.append(node)
    return found[::-1]


def _with_plain_states(node: Node, producers: dict[str, Node]) -> Node:
    """Leave out first states that are zero, and take others as (N, H), before they get an axis of directions."""
    if node.operator not in GATES:
        return node
    inputs, plain = list(node.inputs), set[int]()
    for i in range(FIRST_STATE, len(inputs)):
        before = producers.get(inputs[i])
        if before is None:
            continue
        if _is_zero(before):
            inputs[i] = ""
        elif i < FIRST_STATE + 2 and _axis_change(before) == ("Unsqueeze", (int(_has_batch_first(node)),)):
            inputs[i] = before.inputs[0]
            plain.add(i)
    return replace(node, inputs=tuple(inputs), attributes={**node.attributes, "plain_states": plain})


def _is_zero(node: Node) -> bool:
    """Whether a node repeats the number zero."""
    if node.operator not in ("Expand", "ConstantOfShape"):
        return False
    values = node.constant(0) if node.operator == "Expand" else np.asarray(node.get("value", 0))
    return values is not None and not np.any(values)


def _nodes_after(node: Node, users: dict[str, list[Node]], swapped: dict[str, str]) -> dict[int, list[Node]]:
    """Return the nodes after each output of an operator that :data:`AFTER` lists; none if others are found."""
    if not (_has_batch_first(node) or node.inputs[0] in swapped):
        return {}
    chains = {i: _chain_after(node, i, users) for i, name in enumerate(node.outputs) if name in users}
    return chains if all(chains.values()) else {}


def _chain_after(node: Node, i: int, users: dict[str, list[Node]]) -> list[Node]:
    chain: list[Node] = []
    name = node.outputs[i]
    for change in AFTER.get((_has_batch_first(node), min(i, 1), node.get("direction") == "bidirectional"), []):
        following = users.get(name, [])
        if change == SWAP_FIRST_TWO and following and all(_takes(other, name) for other in following):
            return chain
        if len(following) != 1 or _axis_change(following[0]) != change:
            return []
        chain.append(following[0])
        name = following[0].outputs[0]
    return chain


def _takes(node: Node, name: str) -> bool:
    """Whether a recurrent operator takes a sequence (T, N, D)."""
    return node.operator in GATES and not _has_batch_first(node) and node.inputs[0] == name


def _joined(node: Node, swapped: dict[str, str], chains: dict[int, list[Node]]) -> Node:
    """Return the operator as a node from (N, T, D) to the outputs of the last nodes after it; unused ones are ""."""
    source = node.inputs[0] if _has_batch_first(node) else swapped[node.inputs[0]]
    outputs = {i: chain[-1].outputs[0] for i, chain in chains.items()}
    return_state = len(outputs) > 1 or 2 in outputs
    names = (
        [outputs.get(i, "") for i in range(3 if node.operator == "LSTM" else 2)] if return_state else outputs.values()
    )
    attributes = {**node.attributes, "return_sequences": 0 in outputs, "return_state": return_state}
    return replace(node, inputs=(source, *node.inputs[1:]), outputs=tuple(names), attributes=attributes)


def _has_batch_first(node: Node) -> bool:
    return bool(node.get("layout", 0) == 1)


def _axis_change(node: Node) -> AxisChange | None:
    """Return what a node does to the axes; None if it does something else."""
    names = {"Transpose": "perm", "Squeeze": "axes", "Unsqueeze": "axes", "Reshape": "shape"}
    numbers = node.given(names[node.operator], 1) if node.operator in names else None
    if numbers is None or numbers.dtype.kind != "i" or numbers.size > MAX_AXES:
        return None
    return node.operator, tuple(numbers.ravel().tolist())


def _without_states(node: Node) -> Node:
    """Return a node without the first states that are (N, H)."""
    plain = node.get("plain_states", ())
    return replace(node, inputs=tuple("" if i in plain else name for i, name in enumerate(node.inputs)))


@imports(*GATES)
def import_recurrent(flow: Flow, node: Node) -> None:
    """Refuse states beside the input or the output, which only a Graph has."""
    if node.get("return_state"):
        raise node.error("it returns its last states beside its output")
    _add_layer(flow, node)


def import_with_states(flows: list[Flow], node: Node) -> list[Flow]:
    """Return the output of a recurrent layer that takes first states or returns the last ones, and these states."""
    flow = replace(flows[0], layers=[])
    _add_layer(flow, _without_states(node))
    for state in flows[1:]:
        state.need_channels_last(node)
    flow.layers[0].output_shape(tuple(each.shape for each in flows))
    states = [replace(flow, shape=flow.shape[-1:], axes=(0, 1))] * (len(node.outputs) - 1)
    return [flow, *states]


def _add_layer(flow: Flow, node: Node) -> None:
    """Refuse a first state other than zeros, and other activations than those of the layers."""
    kind, return_sequences = node.operator, node.get("return_sequences")
    if return_sequences is None:
        raise node.error("its output is neither all states (N, T, H) nor the last one (N, H)")
    flow.need_channels_last(node)
    n_directions = _check_weights(node)
    _check_computed(node)
    arrays = [_direction(node, i) for i in range(n_directions)]
    n_in, hidden_size = (len(arrays[0][name]) for name in ("weight_ih", "weight_hh"))
    backwards = node.get("direction") == "reverse"
    options = {"return_sequences": return_sequences, "return_state": node.get("return_state", False)}
    layer = getattr(layers, kind)(n_in, hidden_size, **options, go_backwards=backwards)
    if len(arrays) == 1:
        flow.add(layer, **arrays[0])
    else:
        both = layers.Bidirectional(layer)
        for each, given in zip(both.branches, arrays, strict=True):
            flow.branch().add(each, **given)
        flow.add(both)
    flow.axes = (0, 1, 2) if return_sequences else (0, 1)


def _check_weights(node: Node) -> int:
    """Return the number of directions; both weights must have that many matrices."""
    w, r, n_gates = node.weight(1), node.weight(2), len(GATES[node.operator].order)
    n_directions = 2 if node.get("direction") == "bidirectional" else 1
    if w.ndim != 3 or r.ndim != 3 or not w.shape[1] == r.shape[1] == n_gates * r.shape[2]:
        raise node.error(f"its weights of shapes {w.shape} and {r.shape} are not those of its gates")
    if len(w) != n_directions or len(r) != n_directions:
        raise node.error(f"it has weights of {len(w)} and {len(r)} directions, not {n_directions}")
    return n_directions


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
