"""
A graph divided into blocks, and the layer of each block.

A block is one node, or the nodes between two values through which all paths of the graph lead.
"""

from collections.abc import Iterable, Sequence

from portanet import layers
from portanet.graph.adaptive import import_adaptive_pool, is_adaptive_pool
from portanet.graph.flow import Flow, Node, single_number
from portanet.graph.recurrent import GATES
from portanet.graph.table import as_node_errors, import_node
from portanet.layers.base import Layer

Nodes = Sequence[Node]

GATED: dict[tuple[str, ...], type[Layer]] = {
    ("Sigmoid", "Mul"): layers.SiLU,
    ("Softplus", "Tanh", "Mul"): layers.Mish,
}
"""Activations of the form ``x g(x)``, by the operators of their nodes."""

GLU = ["Mul", "Sigmoid", "Split"]
RMS_NORM = ["Mul", "ReduceMean", "Add", "Sqrt", "Div"]
"""Operators of other formulas: those of GLU sorted, those of RMSNorm in order."""

FORMULA_OPERATORS = {
    "Mul": {"Sigmoid", "Softplus", "Tanh", "Split"},
    "Div": {*RMS_NORM[:-1]},
    "Concat": {"Slice", "ReduceMean", "ReduceMax"},
}
"""Operators within a formula, by that of its last node."""

WITHOUT_LAYER = ("Transpose", "Identity", "Cast")
"""Operators that add no layer, so that branches may share them."""

OTHER_JOIN = "there is no layer that joins branches in this way"

MAX_DEPTH = 32
"""Most branches within branches, and most terms of a sum: methods of the network call themselves for each one."""


def import_nodes(flow: Flow, start: str, nodes: Nodes, end: str) -> None:
    """
    Append the layers of nodes that take the value ``start`` to ``end``.

    Raises
    ------
    ValueError
        If a node, or a block of nodes, is no layer of PortaNet; the message names a node.
    """
    for first, block, last in _blocks(start, nodes, end):
        if last not in block[-1].outputs[:1] and block[-1].operator not in GATES:
            raise block[-1].error(f"its output {last!r} is not the first one")
        if len(block) == 1 and block[0].operator != "Concat":
            import_node(flow, block[0])
        else:
            with as_node_errors(block[-1]):
                _import_block(flow, first, block)


def _blocks(start: str, nodes: Nodes, end: str) -> Iterable[tuple[str, Nodes, str]]:
    """Yield the values before and after each block, and its nodes."""
    last_use = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    last_use[end] = len(nodes)
    open_values, block, first = {start}, [], start
    for i, node in enumerate(nodes):
        if unknown := [name for name in node.varying if name not in open_values]:
            raise node.error(f"its input {unknown[0]!r} comes from nowhere")
        block.append(node)
        open_values |= {name for name in node.outputs if last_use.get(name, -1) > i}
        open_values -= {name for name in node.inputs if last_use[name] <= i}
        if len(open_values) == 1:
            (last,) = open_values
            if last != first:
                yield first, block, last
                block, first = [], last
    if block:
        raise block[0].error("its output is not used")


class _Block:
    """Nodes whose branches the last one, ``join``, puts together."""

    def __init__(self, nodes: Nodes):
        *self._nodes, self.join = nodes
        self.varying = self.join.varying
        self._positions = {name: i for i, node in enumerate(self._nodes) for name in node.outputs}

    def ancestors(self, end: str) -> Nodes:
        """Return the nodes that compute a value, in order."""
        found, open_values = set(), [end]
        while open_values:
            i = self._positions.get(open_values.pop())
            if i is not None and i not in found:
                found.add(i)
                open_values += self._nodes[i].inputs
        return [self._nodes[i] for i in sorted(found)]


def is_formula(nodes: Nodes) -> bool:
    """Whether nodes compute what one layer does, such as SiLU; they are no branches."""
    operators = _operators(nodes)
    is_activation = tuple(operators) in GATED or sorted(operators) == GLU
    return is_activation or operators == RMS_NORM or (operators[-1] == "Concat" and is_adaptive_pool(nodes))


def _import_block(flow: Flow, start: str, nodes: Nodes) -> None:
    """Append the layer of a block: branches that a sum, a concatenation or a product joins."""
    block, operators = _Block(nodes), _operators(nodes)
    _check_apart(block)
    if operators[-1] in ("Add", "Sum") and len(block.varying) >= 2:
        _import_sum(flow, start, block)
    elif operators[-1] == "Concat" and is_adaptive_pool(nodes):
        import_adaptive_pool(flow, start, nodes)
    elif operators[-1] == "Concat":
        _import_concat(flow, start, block)
    elif tuple(operators) in GATED and block.varying.count(start) == 1:
        flow.add(GATED[tuple(operators)]())
    elif sorted(operators) == GLU:
        _import_glu(flow, nodes)
    elif operators == RMS_NORM:
        _import_rms_norm(flow, start, nodes)
    else:
        raise block.join.error(OTHER_JOIN)


def _check_apart(block: _Block) -> None:
    """Refuse branches that share nodes: each would get layers of its own, with weights that training takes apart."""
    if block.join.operator in ("Add", "Sum", "Concat"):
        seen: set[str] = set()
        for name in dict.fromkeys(block.join.inputs):
            own = {node.outputs[0] for node in block.ancestors(name) if node.operator not in WITHOUT_LAYER}
            if own & seen:
                raise block.join.error("its branches share nodes")
            seen |= own


def _operators(nodes: Nodes) -> list[str]:
    return [node.operator for node in nodes]


def _branches(flow: Flow, start: str, block: _Block) -> tuple[Flow, list[Layer | None]]:
    """Return the output of the first branch, and all branches as layers, None for one that does nothing."""
    if len(block.varying) < len(block.join.inputs):
        raise block.join.error("one of its inputs is constant")
    flows: list[Flow] = []
    found: list[Layer | None] = []
    for end in block.varying:
        branch = flow.branch()
        _check_depth(branch.depth, block.join)
        import_nodes(branch, start, block.ancestors(end), end)
        if flows and (branch.axes != flows[0].axes or branch.features or flows[0].features):
            raise block.join.error("its inputs have their axes in different orders")
        flows.append(branch)
        found.append(as_layer(branch.layers) if branch.layers else None)
    return flows[0], found


def as_layer(found: list[Layer]) -> Layer:
    """Return layers as one."""
    return found[0] if len(found) == 1 else layers.Sequential(*found)


def _check_depth(depth: int, join: Node) -> None:
    """Refuse branches that are nested too deeply."""
    if depth > MAX_DEPTH:
        raise join.error(f"its branches are nested more than {MAX_DEPTH} deep")


def _import_sum(flow: Flow, start: str, block: _Block) -> None:
    """Append the Residual of two branches, one of which may do nothing; of more branches, one within the other."""
    first, found = _branches(flow, start, block)
    branches = [layer for layer in found if layer is not None]
    if len(found) - len(branches) > 1:
        raise block.join.error("it adds a value to itself")
    _check_depth(flow.depth + len(branches), block.join)
    total = branches.pop(0) if len(found) == len(branches) else None
    for branch in branches:
        total = layers.Residual(branch, projection=total)
    assert total is not None
    flow.add(total)
    flow.axes, flow.features = first.axes, None


def _import_concat(flow: Flow, start: str, block: _Block) -> None:
    """Append the Parallel of several branches; one alone stays as it is."""
    first, found = _branches(flow, start, block)
    first.need_channels(block.join, block.join.get("axis", 1))
    if len(found) > 1:
        flow.add(layers.Parallel(*(layers.Sequential() if layer is None else layer for layer in found)))
        flow.axes, flow.features = first.axes, None


def _import_glu(flow: Flow, nodes: Nodes) -> None:
    """Append GLU, ``a σ(b)`` of two halves."""
    split, sigmoid, product = nodes
    sizes = split.given("split", 1)
    flow.need_plain_features(split)
    flow.need_channels(split, split.get("axis", 0))
    if len(split.outputs) != 2 or (sizes is not None and len({*sizes.tolist()}) > 1):
        raise split.error("it does not divide the channels into two halves")
    a, b = split.outputs
    if sigmoid.inputs != (b,) or {*product.inputs} != {a, *sigmoid.outputs}:
        raise product.error(OTHER_JOIN)
    flow.add(layers.GLU())


def _import_rms_norm(flow: Flow, start: str, nodes: Nodes) -> None:
    """Append RMSNorm, ``x / √(mean(x²) + eps)``."""
    square, mean, add, _, quotient = nodes
    axes, eps = mean.given("axes", 1), add.constant(1)
    if square.inputs != (start, start) or quotient.inputs[0] != start or axes is None or eps is None:
        raise quotient.error(OTHER_JOIN)
    flow.need_channels_last(quotient)
    lengths = flow.shape[-axes.size :]
    if sorted(axes.tolist()) != list(range(-axes.size, 0)) or not mean.get("keepdims", 1):
        raise mean.error("it is no mean over the last axes")
    shape = lengths if len(lengths) > 1 else lengths[0]
    flow.add(layers.RMSNorm(shape, eps=single_number(eps), elementwise_affine=False))
