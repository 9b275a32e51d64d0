"""Graphs that are large or nested deeply: read with work in proportion to the nodes, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.graph import Node
from portanet.graph.blocks import MAX_DEPTH
from portanet.graph.network import MAX_NODES, build_network, import_graph


def node(operator: str, inputs: list[str], output: str) -> Node:
    title = f"node {output!r} ({operator})"
    return Node(title, operator, tuple(inputs), (output,), {"axis": 1}, [None] * len(inputs))


def branches(n: int, join: str) -> list[Node]:
    """Return n branches of one node, which another one joins to y."""
    return [node("Relu", ["x"], f"a{i}") for i in range(n)] + [node(join, [f"a{i}" for i in range(n)], "y")]


def nested(n: int) -> list[Node]:
    """Return n residuals, one within the other, from x to y."""
    names = ["x", *(f"a{i}" for i in range(n)), *(f"s{i}" for i in range(n - 1)), "y"]
    down = [node("Relu", [names[i]], names[i + 1]) for i in range(n)]
    return down + [node("Add", [names[n + i], names[n - 1 - i]], names[n + 1 + i]) for i in range(n)]


def test_a_graph_of_too_many_nodes_is_refused() -> None:
    nodes = [node("Relu", ["x" if i == 0 else f"a{i}"], f"a{i + 1}") for i in range(MAX_NODES + 1)]
    with pytest.raises(ValueError, match="it has 10,001 nodes, more than 10,000"):
        import_graph("x", [3], nodes, nodes[-1].outputs[0])


def test_branches_that_are_nested_too_deeply_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(Add\) .* its branches are nested more than 32 deep"):
        import_graph("x", [3], nested(MAX_DEPTH + 1), "y")
    with pytest.raises(ValueError, match=r"node 'y' \(Sum\) .* its branches are nested more than 32 deep"):
        import_graph("x", [3], branches(MAX_DEPTH + 2, "Sum"), "y")


@pytest.mark.parametrize("nodes", [nested(MAX_DEPTH), branches(MAX_DEPTH, "Sum")], ids=["nested", "sum"])
def test_what_is_nested_less_deeply_is_shown_and_saved(nodes: list[Node], tmp_path: Path) -> None:
    flow = import_graph("x", [3], nodes, "y")
    net = build_network(pn.Sequential(*flow.layers), flow.arrays, "float32", pn.get_backend("cpu"))
    assert repr(net).count("Residual") >= MAX_DEPTH - 1
    net.save(tmp_path / "net.safetensors")
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(pn.load(tmp_path / "net.safetensors").predict(x), net.predict(x))


class CountedNode(Node):
    """A node that counts how often its attributes are read."""

    n_reads = 0

    def __getattribute__(self, name: str) -> Any:
        CountedNode.n_reads += 1
        return super().__getattribute__(name)


def reads(nodes: list[Node]) -> int:
    """Return how often attributes of nodes are read until they are layers."""
    counted: list[Node] = [CountedNode(**vars(node)) for node in nodes]
    before = CountedNode.n_reads
    import_graph("x", [3], counted, "y")
    return CountedNode.n_reads - before


def test_twice_the_branches_are_twice_the_work() -> None:
    assert reads(branches(200, "Concat")) < 2.2 * reads(branches(100, "Concat"))
