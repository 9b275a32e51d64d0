"""The picture of the house: which part of PortaNet imports which, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, new_axes

ROOT = Path(__file__).parents[2]
LOADED_BY_NAME = {"backends.numpy", "backends.cupy"}
"""The backends, which the registry loads by name: they import kernels, and nothing imports them."""

EVERYWHERE = {"checks", "console", "names", "typing", "version"}
"""Small parts that stand below all others: the picture leaves them out."""

COLORS = {
    BLUE: {"kernels", "layers", "losses", "optimizers", "metrics", "parameters", "initializers", "schedules"},
    GREEN: {"engine", "training", "distributed"},
    ORANGE: {"backends", "backends.numpy", "backends.cupy"},
}

Graph = dict[str, set[str]]


def part_of(module: str) -> str:
    """Return the part to which a module belongs, such as ``layers``."""
    names = module.removeprefix("portanet.").split(".")
    pair = ".".join(names[:2])
    return pair if pair in LOADED_BY_NAME else names[0]


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the modules of PortaNet and their files."""
    for folder, package in ((ROOT / "portanet", "portanet"), (ROOT / "backends", "portanet.backends")):
        for path in sorted(folder.rglob("*.py")):
            names = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *names)).removesuffix(".__init__"), path


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of PortaNet that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "portanet":
            yield from (f"portanet.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imports() -> Graph:
    """Return the parts, and those that each imports."""
    parts = {part_of(module) for module, _ in sources() if module != "portanet"} - EVERYWHERE
    graph: Graph = {part: set() for part in sorted(parts)}
    for module, path in sources():
        if module != "portanet" and part_of(module) in parts:  # portanet itself imports all that users need
            targets = (part_of(name) for name in imported(path) if name.startswith("portanet."))
            graph[part_of(module)] |= {target for target in targets if target in parts} - {part_of(module)}
    return graph


def heights(graph: Graph) -> dict[str, int]:
    """Return the length of the longest way down from each part."""
    found: dict[str, int] = {}

    def height(part: str) -> int:
        if part not in found:
            found[part] = 1 + max(map(height, graph[part]), default=-1)
        return found[part]

    for part in graph:
        height(part)
    return found


def essential(graph: Graph) -> Graph:
    """Return the imports that do not follow from others: of a -> b -> c and a -> c, the last one does."""

    def below(part: str) -> set[str]:
        return graph[part].union(*map(below, graph[part]))

    return {part: needed - {far for near in needed for far in below(near)} for part, needed in graph.items()}


def places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Return a place for each part: rows by height; within a row, near the parts that it is joined to."""
    height = heights(graph)
    rows = [sorted(p for p in graph if height[p] == level) for level in range(max(height.values()) + 1)]
    joined = {part: sorted(graph[part] | {other for other in graph if part in graph[other]}) for part in graph}
    x = {part: i - (len(row) - 1) / 2 for row in rows for i, part in enumerate(row)}
    for _ in range(20):
        for row in rows:
            row.sort(key=lambda part: (sum(x[other] for other in joined[part]) / max(1, len(joined[part])), part))
            x.update({part: i - (len(row) - 1) / 2 for i, part in enumerate(row)})
    return {part: (2.8 * x[part], 1.5 * height[part]) for part in graph}


def house() -> Any:
    """Draw the parts of PortaNet, each above those that it imports."""
    graph = essential(imports())
    at = places(graph)
    width, top = (max(place[axis] for place in at.values()) for axis in (0, 1))
    figure, axes = new_axes(9.8, 7.4, (-width - 1.4, width + 1.4), (-0.7, top + 0.7))
    for part, (x, y) in at.items():
        for target in sorted(graph[part]):
            end_x, end_y = at[target]
            arrow(axes, (x, y - 0.34), (end_x, end_y + 0.36), color="#999999", linewidth=0.7)
    for part, (x, y) in at.items():
        color = next((color for color, parts in COLORS.items() if part in parts), GREY)
        box(axes, (x, y), {"__main__": "command line"}.get(part, part), color, (2.5, 0.6))
    return figure
