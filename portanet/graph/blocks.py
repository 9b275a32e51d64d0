"""A graph divided into single nodes and blocks: nodes between one value and the next that all later nodes need."""

from collections.abc import Iterable, Sequence

from portanet import layers
from portanet.graph.adaptive import import_adaptive_pool, is_adaptive_pool
from portanet.graph.flow import Flow, Node, single_number
from portanet.graph.recurrent import GATES
from portanet.graph.table import import_node
from portanet.layers.base import Layer

Nodes = Sequence[Node]

GATED: dict[tuple[str, ...], type[Layer]] = {
    ("Sigmoid", "Mul"): layers.SiLU,
    ("Softplus", "Tanh", "Mul"): layers.Mish,
}
"""Activations of the form ``x g(x)``, by the operators of the nodes."""

WITHOUT_LAYER = ("Transpose", "Identity", "Cast")
"""Operators that add no layer, so that branches may share them."""

MAX_DEPTH = 32
"""Branches within branches, and terms of a sum; deeper networks reach Python's limit of calls in their methods."""


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
            _import_block(flow, first, block, last)


def _blocks(start: str, nodes: Nodes, end: str) -> Iterable[tuple[str, Nodes, str]]:
    """Yield the values before and after each block, and its nodes."""
    last_use = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    last_use[end] = len(nodes)
    open_values, block, first = {start}, [], start
    for i, node in enumerate(nodes):
        varying = [name for name, values in zip(node.inputs, node.constants, strict=False) if values is None and name]
        if unknown := [name for name in varying if name not in open_values]:
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


class _Makers:
    """The nodes of a block by the values that they compute, and the node that joins its branches."""

    def __init__(self, nodes: Nodes, join: Node):
        self.join, self._nodes = join, nodes
        self._positions = {name: i for i, node in enumerate(nodes) for name in node.outputs}

    def ancestors(self, end: str) -> Nodes:
        """Return the nodes that a value is computed by, in order."""
        found, open_values = set(), [end]
        while open_values:
            i = self._positions.get(open_values.pop())
            if i is not None and i not in found:
                found.add(i)
                open_values += self._nodes[i].inputs
        return [self._nodes[i] for i in sorted(found)]


def _import_block(flow: Flow, start: str, nodes: Nodes, end: str) -> None:
    """Append the layer of a block: branches that a sum, a concatenation or a product joins."""
    *inner, join = nodes
    makers = _Makers(inner, join)
    _check_apart(join, makers)
    kind = join.operator
    varying = [name for name, values in zip(join.inputs, join.constants, strict=True) if values is None and name]
    if kind in ("Add", "Sum") and len(varying) >= 2:
        if len(varying) < len(join.inputs):
            raise join.error("one of its inputs is constant")
        _import_sum(flow, start, makers, varying, join)
    elif kind == "Concat" and is_adaptive_pool(nodes):
        import_adaptive_pool(flow, start, nodes)
    elif kind == "Concat":
        _import_concat(flow, start, makers, varying, join)
    elif tuple(_operators(nodes)) in GATED and varying.count(start) == 1:
        flow.add(GATED[tuple(_operators(nodes))]())
    elif sorted(_operators(nodes)) == ["Mul", "Sigmoid", "Split"]:
        _import_glu(flow, nodes)
    elif _operators(nodes) == ["Mul", "ReduceMean", "Add", "Sqrt", "Div"]:
        _import_rms_norm(flow, start, nodes)
    else:
        raise join.error("there is no layer that joins branches in this way")


def _check_apart(join: Node, makers: _Makers) -> None:
    """Refuse branches that share nodes: each would get layers of its own, with weights that training takes apart."""
    if join.operator in ("Add", "Sum", "Concat"):
        seen: set[str] = set()
        for name in dict.fromkeys(join.inputs):
            own = {node.outputs[0] for node in makers.ancestors(name) if node.operator not in WITHOUT_LAYER}
            if own & seen:
                raise join.error("its branches share nodes")
            seen |= own


def _operators(nodes: Nodes) -> list[str]:
    return [node.operator for node in nodes]


def _branch(flow: Flow, start: str, makers: _Makers, end: str) -> tuple[Flow, Layer | None]:
    """Return a branch as one layer, None if it does nothing."""
    branch = flow.branch()
    _check_depth(branch.depth, makers.join)
    import_nodes(branch, start, makers.ancestors(end), end)
    if not branch.layers:
        return branch, None
    return branch, branch.layers[0] if len(branch.layers) == 1 else layers.Sequential(*branch.layers)


def _check_depth(depth: int, join: Node) -> None:
    """Refuse branches within branches that methods of the network could not follow."""
    if depth > MAX_DEPTH:
        raise join.error(f"its branches are nested more than {MAX_DEPTH} deep")


def _check_equal(first: Flow, other: Flow, join: Node) -> None:
    same = first.features is other.features is None and first.axes == other.axes
    if not same:
        raise join.error("its inputs have their axes in different orders")


def _import_sum(flow: Flow, start: str, makers: _Makers, names: list[str], join: Node) -> None:
    """Residual of two branches, one of which may do nothing; of more, one within the other."""
    parts = [_branch(flow, start, makers, name) for name in names]
    for end, _ in parts[1:]:
        _check_equal(parts[0][0], end, join)
    direct = [layer for _, layer in parts if layer is None]
    branches = [layer for _, layer in parts if layer is not None]
    if len(direct) > 1 or not branches:
        raise join.error("it adds a value to itself")
    _check_depth(flow.depth + len(branches), join)
    total = None if direct else branches.pop(0)
    for branch in branches:
        total = layers.Residual(branch, projection=total)
    assert total is not None
    flow.add(total)
    flow.axes, flow.features = parts[0][0].axes, None


def _import_concat(flow: Flow, start: str, makers: _Makers, names: list[str], join: Node) -> None:
    """Parallel of several branches."""
    if len(names) < len(join.inputs):
        raise join.error("one of its inputs is constant")
    parts = [_branch(flow, start, makers, name) for name in names]
    for end, _ in parts[1:]:
        _check_equal(parts[0][0], end, join)
    parts[0][0].need_channels(join, join.get("axis", 1))
    if len(parts) == 1:
        return
    flow.add(layers.Parallel(*(layers.Sequential() if layer is None else layer for _, layer in parts)))
    flow.axes, flow.features = parts[0][0].axes, None


def _import_glu(flow: Flow, nodes: Nodes) -> None:
    """``a σ(b)`` of two halves."""
    split, sigmoid, product = nodes
    sizes = split.given("split", 1)
    flow.need_plain_features(split)
    flow.need_channels(split, split.get("axis", 0))
    a, b = split.outputs
    if sizes is not None and len({*sizes.tolist()}) > 1:
        raise split.error("its parts have different lengths")
    if sigmoid.inputs != (b,) or {*product.inputs} != {a, *sigmoid.outputs}:
        raise product.error("there is no layer that joins branches in this way")
    flow.add(layers.GLU())


def _import_rms_norm(flow: Flow, start: str, nodes: Nodes) -> None:
    """``x / √(mean(x²) + eps)``."""
    square, mean, add, _, quotient = nodes
    axes, eps = mean.given("axes", 1), add.constant(1)
    if square.inputs != (start, start) or quotient.inputs[0] != start or axes is None or eps is None:
        raise quotient.error("there is no layer that joins branches in this way")
    flow.need_channels_last(quotient)
    lengths = flow.shape[-axes.size :]
    if sorted(axes.tolist()) != list(range(-axes.size, 0)) or not mean.get("keepdims", 1):
        raise mean.error("it is no mean over the last axes")
    shape = lengths if len(lengths) > 1 else lengths[0]
    flow.add(layers.RMSNorm(shape, eps=single_number(eps), elementwise_affine=False))
