"""What ``import portanet`` costs: NumPy, array-api-compat and safetensors, and nothing else."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import portanet

HEAVY = {
    "cupy",
    "torch",
    "array_api_strict",
    "matplotlib",
    "scipy",
    "sklearn",
    "skimage",
    "pooch",
    "tqdm",
    "pandas",
    "onnx",
}
CODE = """
import sys
from importlib.abc import MetaPathFinder

asked = set()

class Watch(MetaPathFinder):  # sees an import even of what is not installed
    def find_spec(self, name, path=None, target=None):
        asked.add(name.partition(".")[0])

sys.meta_path.insert(0, Watch())
import portanet
print(*sorted(asked))
"""


def test_import_asks_for_no_optional_library() -> None:
    asked = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert "numpy" in asked.stdout.split()
    assert not HEAVY & set(asked.stdout.split())
    assert not asked.stderr


PACKAGES = ["portanet", *(f"portanet.{m.name}" for m in pkgutil.iter_modules(portanet.__path__)), "portanet.backends"]


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist_once(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(module, name) for name in names)


@pytest.mark.parametrize("name", ["layers", "losses", "metrics", "optimizers", "training"])
def test_portanet_and_its_packages_export_the_public_names_of_their_modules(name: str) -> None:
    package = importlib.import_module(f"portanet.{name}")
    modules = [importlib.import_module(f"portanet.{name}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    names = {public for module in modules for public in getattr(module, "__all__", [])}
    assert names <= set(package.__all__) <= set(portanet.__all__)


def test_dir_lists_the_public_names_alone() -> None:
    listed = {name for name in dir(portanet) if not name.startswith("__")}
    assert listed == {name for name in [*portanet.__all__, *portanet.ON_DEMAND] if not name.startswith("__")}
