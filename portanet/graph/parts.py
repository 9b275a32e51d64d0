"""
A graph divided into parts: joins of several values, and the chains of nodes between them.

A chain ends at a value that a join takes, that several parts take, or that is an output.
"""

from bisect import insort
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from portanet import layers
from portanet.graph.blocks import FORMULA_OPERATORS, is_formula
from portanet.graph.flow import Node
from portanet.graph.table import as_node_errors
from portanet.layers.base import Layer

JOINS: dict[str, type[Layer]] = {
    **{"Add": layers.Add, "Sum": layers.Add, "Mul": layers.Multiply},
    **{"Concat": layers.Concatenate, "Dot": layers.Dot},
}
"""The layer of each operator that joins values; :func:`join_dots` makes the nodes "Dot"."""


@dataclass
class Part:
    """
    Nodes of a graph that take values and give others.

    Parameters
    ----------
    takes : tuple of str
    nodes : list of Node
        A chain, or one node of several values.
    gives : tuple of str
        Names of values, as ``takes``; one for a chain. Outputs that are not used are "".
    """

    takes: tuple[str, ...]
    nodes: list[Node]
    gives: tuple[str, ...]

    @property
    def is_chain(self) -> bool:
        """Whether it takes one value, once, and gives one."""
        return len(self.takes) == len(self.gives) == 1


def join_dots(nodes: Sequence[Node], targets: Collection[str]) -> list[Node]:
    """Return nodes in which each product of two values, and its sum along an axis, are one node "Dot"."""
    uses = Counter([*targets, *(name for node in nodes for name in node.inputs)])
    products = {node.outputs[0]: node for node in nodes if node.operator == "Mul" and len(node.varying) == 2}
    replaced: dict[int, Node | None] = {}
    for node in nodes:
        product = products.get(node.inputs[0]) if node.operator == "ReduceSum" else None
        if product is not None and uses[node.inputs[0]] == 1:
            axes = node.given("axes", 1)
            if axes is None or axes.size != 1 or not node.get("keepdims", 1):
                raise node.error("it is no sum along one axis, which is kept")
            with as_node_errors(node):
                attributes = {"axis": int(axes.item())}
            replaced[id(product)] = None
            replaced[id(node)] = replace(
                product, title=node.title, operator="Dot", outputs=node.outputs, attributes=attributes
            )
    return [new for node in nodes if (new := replaced.get(id(node), node)) is not None]


def divide(nodes: Sequence[Node], sources: Collection[str], targets: Collection[str]) -> list[Part]:
    """
    Return the parts between the inputs ``sources`` and the outputs ``targets``, each after those that it needs.

    Raises
    ------
    ValueError
        If a node or an output does not depend on the inputs, or several outputs of a node are used.
    """
    units = _units(nodes, targets)
    uses = Counter([*targets, *(name for unit in units for name in {*unit.takes})])
    known, parts = {*sources}, list[Part]()
    chains: dict[str, Part] = {}  # by the value at its end
    for unit in units:
        last = unit.nodes[-1]
        if not unit.takes or not known.issuperset(unit.takes):
            raise last.error("it does not depend on the inputs alone")
        used = tuple(name for name in last.outputs if name and uses[name])
        if len(used) != 1 and not last.get("return_state"):
            raise last.error(f"{len(used)} of its outputs are used, not one")
        known.update(used)
        unit.gives = last.outputs if last.get("return_state") else used
        chain = chains.get(unit.takes[0]) if unit.is_chain and uses[unit.takes[0]] == 1 else None
        if chain is None:
            parts.append(unit)
        else:
            chain.nodes += unit.nodes
            chain.gives = unit.gives
        if unit.is_chain:
            chains[unit.gives[0]] = chain or unit
    _check_targets(sources, known, targets)
    return parts


def _check_targets(sources: Collection[str], known: Collection[str], targets: Collection[str]) -> None:
    """Refuse outputs that no part gives, and an output that is named twice."""
    for name, count in Counter(targets).items():
        if name in sources:
            raise ValueError(f"its output {name!r} is an input")
        if name not in known:
            raise ValueError(f"its output {name!r} depends on no input")
        if count > 1:
            raise ValueError(f"its output {name!r} is named twice")


def _units(nodes: Sequence[Node], targets: Collection[str]) -> list[Part]:
    """Return joins, other single nodes, and formulas of several nodes such as that of SiLU, in order."""
    producers = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    users: dict[str, set[int]] = {name: {len(nodes)} for name in targets}
    for i, node in enumerate(nodes):
        for name in filter(None, node.inputs):
            users.setdefault(name, set()).add(i)
    units: list[Part] = []
    seen: set[int] = set()
    for i in reversed(range(len(nodes))):
        if i not in seen:
            found = _formula(nodes, producers, users, i)
            seen.update(found)
            units.append(_unit([nodes[j] for j in found]))
    return units[::-1]


def _unit(nodes: list[Node]) -> Part:
    inner = {name for node in nodes for name in node.outputs}
    takes = [name for node in nodes for name in node.varying if name not in inner]
    repeats = len(nodes) == 1 and nodes[0].operator in JOINS
    return Part(tuple(takes if repeats else dict.fromkeys(takes)), nodes, ())


def _formula(nodes: Sequence[Node], producers: dict[str, int], users: dict[str, set[int]], last: int) -> list[int]:
    """Return the positions of the nodes of a formula that ends with a node; its own alone if it ends none."""
    found, names = {last}, {*nodes[last].varying}
    inner = FORMULA_OPERATORS.get(nodes[last].operator, ())
    open_values = sorted((producers.get(name, -1), name) for name in names)
    while len(open_values) > 1:
        i, _ = open_values.pop()
        if i in found:
            continue
        if i < 0 or nodes[i].operator not in inner or any(not users.get(o, found) <= found for o in nodes[i].outputs):
            return [last]
        found.add(i)
        for name in {*nodes[i].varying} - names:
            names.add(name)
            insort(open_values, (producers.get(name, -1), name))
    return sorted(found) if is_formula([nodes[i] for i in sorted(found)]) else [last]
