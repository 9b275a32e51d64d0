"""What is shipped, built from a copy of the tree: the wheel, the source distribution, and the editable install."""

import os
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import portanet

pytest.importorskip("setuptools", minversion="77", reason="setuptools builds the distributions")
pytest.importorskip("pip", reason="pip installs them")

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
# With -S, nothing that is installed beside the tests stands in for what the distribution lacks.
PYTHON = [sys.executable, "-B", "-I", "-S", "-W", "error", "-c"]
IMPORT = """
import site, sys
site.addsitedir(sys.argv[1])  # also runs the hook of an editable install
sys.path += sys.argv[2:]
import portanet, portanet.backends
net = portanet.Linear(2, 1).initialize(device="cpu")
assert net.predict([[1.0, 2.0]]).shape == (1, 1)
print(portanet.__file__)
print(portanet.backends.__file__)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git has or would take, and no build products."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no git checkout to copy: {error}")
    copy = tmp_path_factory.mktemp("tree")
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def build(hook: str, tree: Path, *, compiler: bool = False) -> Path:
    """Build a distribution; without a compiler, as on most machines of users."""
    out = tree / "dist"
    command = [sys.executable, "-c", BUILD, hook, str(out)]
    env = dict(os.environ) if compiler else {**os.environ, "CC": "false", "CXX": "false"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "DeprecationWarning" not in done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return build("build_sdist", tree)


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build("build_wheel", tree)


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def relative(folder: Path, kind: str = "*") -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(kind) if path.is_file()}


def installed(wheel: Path, target: Path) -> list[Path]:
    """Where the two packages come from, once the wheel is installed in a folder and imported from elsewhere."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    specs = (find_spec(name) for name in ("numpy", "array_api_compat", "safetensors"))
    folders = sorted({str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin})
    command = [*PYTHON, IMPORT, str(target), *folders]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Path(line).parent for line in done.stdout.splitlines()]


def test_the_wheel_holds_both_packages_and_nothing_else(tree: Path, wheel: Path) -> None:
    expected = {f"portanet/{name}" for name in relative(tree / "portanet")}
    expected |= {f"portanet/backends/{name}" for name in relative(tree / "backends")}
    assert {name for name in contents(wheel) if ".dist-info/" not in name} == expected
    assert {name.partition("/")[0] for name in contents(wheel)} == {
        "portanet",
        f"portanet-{portanet.__version__}.dist-info",
    }
    assert {"portanet/py.typed", "portanet/backends/registry.py"} <= expected


@pytest.mark.parametrize("command", [["-c", "import portanet"], ["-m", "portanet", "info"]], ids=" ".join)
def test_an_import_in_the_clone_after_an_install_says_what_to_do(
    command: list[str], tree: Path, wheel: Path, tmp_path: Path
) -> None:
    installed(wheel, tmp_path)
    folders = [str(tmp_path), *(folder for folder in sys.path if folder and Path(folder) != ROOT)]
    done = subprocess.run(
        [sys.executable, "-B", "-S", *command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("install the clone with: pip install -e .")


@pytest.mark.slow
def test_a_compiler_adds_the_compiled_kernels(tree: Path, wheel: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    compiled = build("build_wheel", shutil.copytree(tree, tmp_path / "tree"), compiler=True)
    assert compiled.name.split("-")[2:4] == ["cp311", "abi3"]
    assert contents(compiled).keys() - contents(wheel).keys() == {"portanet/backends/numpy/core/_core.abi3.so"}


def test_wheel_has_every_folder_with_python_files(tree: Path, wheel: Path) -> None:
    folders = {f"portanet/{path.parent.relative_to(tree / 'portanet')}" for path in (tree / "portanet").rglob("*.py")}
    folders |= {
        f"portanet/backends/{path.parent.relative_to(tree / 'backends')}" for path in (tree / "backends").rglob("*.py")
    }
    shipped = {str(Path(name).parent) for name in contents(wheel) if name.endswith(".py")}
    assert {str(Path(folder)) for folder in folders} == shipped


def test_the_metadata(tree: Path, wheel: Path) -> None:
    about = {name.partition(".dist-info/")[2]: data for name, data in contents(wheel).items()}
    assert about["licenses/LICENSE"] == (tree / "LICENSE").read_bytes()
    assert about["entry_points.txt"].decode().split("\n")[:2] == [
        "[console_scripts]",
        "portanet = portanet.__main__:main",
    ]
    metadata = message_from_bytes(about["METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("portanet", portanet.__version__)
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line.partition(">")[0] for line in required] == ["numpy", "array-api-compat", "safetensors"]
    assert {"cuda12", "cuda13", "experiments", "test", "bench", "peers"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_wheel_works_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    assert installed(wheel, tmp_path) == [tmp_path / "portanet", tmp_path / "portanet" / "backends"]


def test_the_source_distribution_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert contents(build("build_wheel", unpacked)) == contents(wheel)


def test_the_source_distribution_holds_all_the_tests_and_documents(tree: Path, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"tests/{name}" for name in relative(tree / "tests")} <= names
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "tox.ini"} <= names


def test_the_source_distribution_holds_nothing_that_is_not_in_the_tree(tree: Path, sdist: Path) -> None:
    """Such as compiled files, caches, data and environments that lie beside the sources."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in names if name in {"PKG-INFO", "setup.cfg"} or name.startswith("portanet.egg-info/")}
    assert names - made <= relative(tree)


TESTS = ("tests/kernels", "tests/layers", "tests/losses", "tests/test_contract.py", "tests/test_smoke.py")
"""Tests that start no interpreter, which would import what is installed beside them."""

RUN_TESTS = """
import os, site, sys
site.addsitedir(sys.argv[1])
sys.path += sys.argv[2].split(os.pathsep)
import portanet.backends, pytest
from portanet.backends.numpy import core
for module in (portanet, portanet.backends):
    assert module.__file__.startswith(os.path.realpath(os.curdir)), module.__file__
assert core.compiled, core.status
sys.exit(pytest.main(sys.argv[3:]))
"""


@pytest.mark.job
def test_the_tests_pass_in_the_unpacked_source_distribution(sdist: Path, tmp_path: Path) -> None:
    """With the kernels compiled from it; tox's environment ``sdist`` runs all tests so."""
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    wheel = build("build_editable", unpacked, compiler=True)
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    libraries = os.pathsep.join(folder for folder in sys.path if Path(folder).name == "site-packages")
    options = ["-n", "0", "-q", "-p", "no:cacheprovider", "-m", "not torch", *TESTS]
    done = subprocess.run(
        [sys.executable, "-B", "-I", "-S", "-c", RUN_TESTS, str(site), libraries, *options],
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_editable_install_imports_the_tree(tree: Path, tmp_path: Path) -> None:
    assert installed(build("build_editable", tree), tmp_path) == [tree / "portanet", tree / "backends"]
