"""The examples of every docstring run, and everything public has one."""

import doctest
import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest

import portanet
import portanet.backends
from portanet.backends import registry

# In an editable install the seam does not lie below portanet's folder, so that it is walked by itself.
PACKAGES = (portanet, portanet.backends)
FOUND = {m.name for p in PACKAGES for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")}
MODULES = sorted({p.__name__ for p in PACKAGES} | FOUND - {"portanet.backends.numpy.core._core"})  # it is compiled
if find_spec("cupy") is None and "cupy" not in os.environ.get("PORTANET_REQUIRE", ""):
    MODULES = [name for name in MODULES if not name.startswith("portanet.backends.cupy.")]
if find_spec("torch") is None:
    MODULES = [name for name in MODULES if not name.startswith("portanet.interop.")]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def a_folder_and_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Examples write files, register devices and set the default one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_default", None)
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    with mock.patch.dict(registry.registered), mock.patch.dict(registry._loaded):
        yield


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("a_folder_and_a_registry")
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    names = {**vars(module), "np": np, "portanet": portanet}
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, globs=names)
    for test in tests:
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
    assert runner.tries == inspect.getsource(module).count(">>> "), "an example is not found by doctest"


def public(module: ModuleType) -> dict[str, object]:
    """Classes and functions that a module's ``__all__`` names, kernels included."""
    named = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in named.items() if callable(value)}


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    missing = [name for name, value in public(module).items() if not (value.__doc__ or "").strip()]
    assert not missing


@pytest.mark.parametrize("name", public(portanet))
def test_everything_of_portanet_has_an_example(name: str) -> None:
    assert "Examples\n" in inspect.cleandoc(getattr(portanet, name).__doc__)
