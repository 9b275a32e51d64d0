"""The reference of the site has a page for each public name."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import portanet as pn

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PARTS = [
    *("course", "datasets", "distributed", "engine", "initializers", "interop", "layers", "losses", "metrics", "onnx"),
    *("optimizers", "plots", "schedules", "sklearn", "testing", "training"),
]
"""Modules of which every public name has a page. Kernels are for those who write backends: docs/internals has them."""


def listed() -> list[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.rst")))
    blocks = re.findall(r"\.\. autosummary::\n   :toctree: generated\n\n((?:   [\w.]+\n)+)", text)
    return [name.strip() for block in blocks for name in block.splitlines()]


def resolve(name: str) -> object:
    module, _, own = name.rpartition(".")
    return getattr(import_module(f"portanet.{module}") if module else pn, own)


def test_each_name_has_one_page() -> None:
    names = listed()
    assert len(names) > 180
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("part", ["", *PARTS])
def test_every_public_name_has_a_page(part: str) -> None:
    if part in ("onnx", "sklearn"):
        pytest.importorskip(part, reason=f"{part} is not installed")
    module = import_module(f"portanet.{part}") if part else pn
    values = {name: getattr(module, name) for name in module.__all__ if not name.startswith("_")}
    documented = [resolve(name) for name in listed()]
    missing = [
        name
        for name, value in values.items()
        if (inspect.isclass(value) or callable(value))
        and not isinstance(value, (ModuleType, pn.initializers.Initializer))
        and not any(value is known for known in documented)
    ]
    if part == "course":  # the page has a table of the names that are PortaNet's
        table = (REFERENCE / "course.rst").read_text(encoding="utf-8").partition("======")[2]
        missing = [name for name in missing if f"``{name}``" not in table]
    assert not missing


def test_each_page_has_a_docstring() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert not [name for name in listed() if not inspect.getdoc(resolve(name))]
