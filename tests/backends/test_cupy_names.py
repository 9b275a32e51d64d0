"""Every name that the code takes from CuPy exists in the real package, which needs no GPU to be imported."""

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import portanet
from tests.backends.test_cupy_compile import CUPY_OPTIONS

ROOT = Path(__file__).parents[2]
OWN = sorted((ROOT / "backends/cupy").glob("*.py"))
PORTABLE = sorted(path for path in (ROOT / "portanet").rglob("*.py") if "backends" not in path.parts)
MISSING = object()


@pytest.fixture(scope="module")
def cupy() -> Any:
    try:
        import cupy
    except ImportError:
        if "cupy" in os.environ.get("PORTANET_REQUIRE", "").split(","):
            raise
        pytest.skip("CuPy is not installed")
    return cupy


@pytest.fixture(scope="module")
def standard(cupy: ModuleType) -> Any:
    """CuPy with the names of the Array API."""
    import array_api_compat.cupy

    return array_api_compat.cupy


def attributes(code: str, roots: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each dotted name in a code that begins with one of the roots, and its value or ``MISSING``."""

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return roots.get(node.id)
        if isinstance(node, ast.Call):  # an instance has the attributes of its class
            found = value(node.func)
            return found if isinstance(found, type) else None
        if not isinstance(node, ast.Attribute) or (owner := value(node.value)) in (None, MISSING):
            return None
        return getattr(owner, node.attr, MISSING)

    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and (found := value(node)) is not None:
            yield ast.unparse(node), found


def missing(paths: list[Path], **roots: Any) -> set[str]:
    pairs = [pair for path in paths for pair in attributes(path.read_text(), roots)]
    assert len(pairs) > 50
    return {name for name, found in pairs if found is MISSING}


def test_a_name_that_does_not_exist_is_found() -> None:
    code = "pn.zeros(2); pn.Linear(2, 1).initialise(); pn.losses.MSELoss; pn.Linear(1, 1).forward"
    pairs = list(attributes(code, {"pn": portanet}))
    assert [name for name, found in pairs if found is MISSING] == ["pn.zeros", "pn.Linear(2, 1).initialise"]
    assert ("pn.losses.MSELoss", portanet.MSELoss) in pairs


def test_the_backend_uses_names_that_cupy_has(cupy: ModuleType, standard: ModuleType) -> None:
    assert not missing(OWN, cupy=cupy, standard=standard)


def test_the_portable_code_uses_names_that_cupy_has(standard: ModuleType) -> None:
    assert not missing([*PORTABLE, *OWN], xp=standard)


def test_kernels_are_compiled_with_the_options_of_cupy(cupy: ModuleType) -> None:
    code = inspect.getsource(cupy.cuda.compiler)
    assert all(repr(option.decode()) in code for option in CUPY_OPTIONS if b"std" not in option)


def test_a_failed_allocation_has_the_status_that_is_looked_for(cupy: ModuleType) -> None:
    error = cupy.cuda.runtime.CUDARuntimeError(2)
    assert (error.status, str(error)) == (2, "cudaErrorMemoryAllocation: out of memory")
    assert cupy.cuda.memory.OutOfMemoryError(5, -1)._size == 5
