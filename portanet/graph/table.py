"""The table of importers: which function makes layers of a node."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from portanet.graph.flow import Flow, Node, NoLayer

Importer: TypeAlias = Callable[[Flow, Node], None]
"""``importer(flow, node)`` appends the layers of a node to those of its input."""

IMPORTERS: dict[str, Importer] = {}


def imports(*operators: str) -> Callable[[Importer], Importer]:
    """Add a function to the table, for operators of ONNX."""

    def add(importer: Importer) -> Importer:
        IMPORTERS.update(dict.fromkeys(operators, importer))
        return importer

    return add


def import_node(flow: Flow, node: Node) -> None:
    """
    Append the layers of a node.

    Raises
    ------
    ValueError
        If no layer of PortaNet computes it; the message names the node and its operator.
    """
    importer = IMPORTERS.get(node.operator)
    if importer is None:
        raise node.error("there is no layer for this operator")
    with as_node_errors(node):
        importer(flow, node)


@contextmanager
def as_node_errors(node: Node) -> Iterator[None]:
    """Turn an error of a layer, or of a value that is missing, into one that names the node."""
    try:
        yield
    except NoLayer:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise node.error(why) from error
