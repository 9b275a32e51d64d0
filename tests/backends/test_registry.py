import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet
from portanet.backends import (
    Backend,
    BackendUnavailable,
    backend_of,
    get_backend,
    kernel_override,
    namespace,
    register,
)

PLUGIN = """
from dataclasses import replace
from portanet.backends import get_backend
import numpy as np

class Array(np.ndarray):
    pass

def load(ordinal):
    return replace(get_backend("cpu"), name="npu", array_type=Array, description="a plugin's device")
"""
ENTRY_POINTS = """
[portanet.backends]
npu = npu_plugin:load
broken = npu_plugin:no_such_function
"""


def several(kind: str, count: int, ordinals: list[str | None] | None = None) -> Callable[[str | None], Backend]:
    """A factory of devices ``kind:0``, ``kind:1`` ..., which notes what it was asked for."""

    def factory(ordinal: str | None) -> Backend:
        if ordinals is not None:
            ordinals.append(ordinal)
        index = int(ordinal or 0)
        if index >= count:
            raise BackendUnavailable(f"there are {count}")
        return replace(get_backend("cpu"), name=f"{kind}:{index}", description=f"number {index}")

    return factory


def absent(_: str | None) -> Backend:
    raise BackendUnavailable("plug it in")


def test_one_backend_a_device(backend: Backend) -> None:
    assert get_backend(backend.name) is backend
    assert get_backend(backend) is backend
    assert repr(backend) == f"<Backend {backend.name}: {backend.description}>"


@pytest.mark.parametrize("order", [("npu", "npu:0"), ("npu:0", "npu")], ids=" then ".join)
def test_no_ordinal_means_the_first_device(registry: ModuleType, order: tuple[str, str]) -> None:
    register("npu", several("npu", 2), library="npu")
    first, second = (get_backend(name) for name in order)
    assert first is second
    assert get_backend("npu:1").name == "npu:1"


def test_a_factory_is_called_once_a_device_and_only_when_it_is_asked_for(registry: ModuleType) -> None:
    ordinals: list[str | None] = []
    register("npu", several("npu", 2, ordinals), library="npu")
    assert ordinals == []
    for name in ("npu", "npu", "npu:1", "npu:1"):
        get_backend(name)
    assert ordinals == [None, "1"]


@pytest.mark.parametrize("name", ["numpy", "CPU", "", "cuda0", ":1", "npu:1"])
def test_unknown_names_are_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"is unknown: choose one of cpu, cuda, strict, torch.*, auto"):
        get_backend(name)


@pytest.mark.parametrize("name", ["gpu", "GPU:0", "cupy", "nvidia"])
def test_words_for_a_gpu_are_answered_with_cuda(name: str) -> None:
    with pytest.raises(ValueError, match=r"a GPU is 'cuda'"):
        get_backend(name)


@pytest.mark.parametrize("device", [0, b"cpu", np, ["cpu"]], ids=lambda v: type(v).__name__)
def test_a_device_is_a_string(device: Any) -> None:
    with pytest.raises(TypeError, match="device must be a string such as 'cpu' or 'cuda:0', got"):
        get_backend(device)


@pytest.mark.parametrize("name", ["cpu:0", "cpu:1", "cpu:", "strict:1", "torch:cpu"])
def test_single_devices_have_no_ordinal(name: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"device '{name}' does not exist: use '"):
        get_backend(name)


class TestAuto:
    def test_takes_cuda_where_it_works(self, registry: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
        registry.registered["cuda"] = registry.Registered(several("cuda", 1), "cupy")
        assert get_backend("auto") is get_backend("cuda:0")
        assert caplog.messages == ["device 'auto' took cuda:0"]

    def test_takes_the_cpu_elsewhere_and_says_why_once(
        self, registry: ModuleType, caplog: pytest.LogCaptureFixture
    ) -> None:
        registry.registered["cuda"] = registry.Registered(absent, "cupy")
        assert get_backend("auto") is get_backend("auto") is get_backend("cpu")
        assert caplog.messages == ["device 'auto' took cpu (cuda: plug it in)"]

    def test_cuda_itself_never_falls_back(self, registry: ModuleType) -> None:
        registry.registered["cuda"] = registry.Registered(absent, "cupy")
        with pytest.raises(BackendUnavailable, match="plug it in"):
            portanet.set_device("cuda")
        assert portanet.default_device() == "cpu"


class TestDefault:
    def test_is_the_cpu(self, registry: ModuleType) -> None:
        assert portanet.default_device() == "cpu"
        assert get_backend().name == "cpu"

    def test_comes_from_the_environment(self, registry: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORTANET_DEVICE", "strict")
        assert get_backend() is get_backend("strict")
        monkeypatch.setenv("PORTANET_DEVICE", "")
        assert get_backend().name == "cpu"

    def test_set_device_comes_first_and_none_takes_it_back(
        self, registry: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORTANET_DEVICE", "torch")
        portanet.set_device("strict")
        assert portanet.default_device() == "strict"
        portanet.set_device(None)
        assert portanet.default_device() == "torch"

    def test_set_device_keeps_the_complete_name(self, registry: ModuleType) -> None:
        register("npu", several("npu", 2), library="npu")
        portanet.set_device("npu")
        assert portanet.default_device() == "npu:0"

    def test_auto_is_decided_when_it_is_set(self, registry: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
        registry.registered["cuda"] = registry.Registered(absent, "cupy")
        portanet.set_device("auto")
        assert portanet.default_device() == "cpu"
        assert "took cpu" in caplog.text

    @pytest.mark.parametrize(("device", "error"), [("gpu", ValueError), ("cpu:1", BackendUnavailable), (3, TypeError)])
    def test_a_bad_device_changes_nothing(self, registry: ModuleType, device: Any, error: type[Exception]) -> None:
        portanet.set_device("strict")
        with pytest.raises(error):
            portanet.set_device(device)
        assert portanet.default_device() == "strict"

    def test_a_bad_environment_is_named(self, registry: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORTANET_DEVICE", "abacus")
        with pytest.raises(ValueError, match="device 'abacus' of PORTANET_DEVICE is unknown"):
            get_backend()


class TestDevices:
    def test_every_device_and_the_reasons(self, registry: ModuleType) -> None:
        registry.registered["cuda"] = registry.Registered(absent, "cupy")
        register("npu", several("npu", 3), library="npu")
        found = {device.name: device for device in portanet.devices()}
        assert {"cpu", "cuda", "strict", "torch", "npu:0", "npu:1", "npu:2"} <= found.keys()
        assert (found["cuda"].usable, found["cuda"].description) == (False, "plug it in")
        assert (found["npu:2"].usable, found["npu:2"].description) == (True, "number 2")
        assert found["cpu"].description.startswith(f"NumPy {np.__version__} on ")

    def test_a_factory_that_ignores_ordinals_is_one_device(self, registry: ModuleType) -> None:
        register("npu", lambda ordinal: replace(get_backend("cpu"), name="npu"), library="npu")
        assert [device.name for device in portanet.devices() if "npu" in device.name] == ["npu"]

    def test_as_text(self, registry: Any) -> None:
        registry.registered["cuda"] = registry.Registered(absent, "cupy")
        cpu, cuda = map(str, portanet.devices()[:2])
        assert cpu == f"cpu      usable  {get_backend('cpu').description}"
        assert cuda == "cuda     absent  plug it in"


class TestRegister:
    @pytest.mark.parametrize("name", ["", "auto", "npu:1"])
    def test_names_that_could_not_be_asked_for(self, registry: ModuleType, name: str) -> None:
        with pytest.raises(ValueError, match="name must be a device name without a colon and not 'auto'"):
            register(name, absent, library="npu")

    @pytest.mark.parametrize("name", ["name", "factory", "library"])
    @pytest.mark.parametrize("value", [None, 3, b"npu", ["npu"], np.zeros(2)], ids=repr)
    def test_unfit_arguments_are_refused(self, registry: ModuleType, name: str, value: Any) -> None:
        arguments: dict[str, Any] = {"name": "npu", "factory": absent, "library": "npu"}
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            register(**{**arguments, name: value})

    def test_a_name_is_given_once(self, registry: ModuleType) -> None:
        with pytest.raises(ValueError, match="name 'cpu' is taken: choose another"):
            register("cpu", absent, library="npu")
        assert get_backend("cpu").description.startswith("NumPy")

    def test_networks_run_on_a_registered_device(self, registry: ModuleType) -> None:
        register("npu", several("npu", 1), library="npu")
        net = portanet.Linear(2, 1).initialize(device="npu")
        assert net.flat.backend is get_backend("npu:0")
        assert net.predict([[1.0, 2.0]]).shape == (1, 1)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder that holds an installed distribution with two entry points, one of which cannot be loaded."""
    (tmp_path / "npu_plugin.py").write_text(PLUGIN)
    about = tmp_path / "npu_plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: npu-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


class TestEntryPoints:
    def run(self, plugin: Path, code: str) -> str:
        path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "PYTHONPATH": path, "PORTANET_DEVICE": "npu"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def test_a_device_by_its_name(self, plugin: Path) -> None:
        code = "import sys, portanet; print('npu_plugin' in sys.modules, portanet.Linear(2, 1).flat.backend)"
        assert self.run(plugin, code) == "False <Backend npu: a plugin's device>\n"

    def test_arrays_that_were_made_elsewhere(self, plugin: Path) -> None:
        code = """
import npu_plugin, numpy as np
from portanet.backends import get_backend, namespace
array = np.zeros(2).view(npu_plugin.Array)
print(namespace(array) is get_backend("npu").xp)
"""
        assert self.run(plugin, code) == "True\n"

    def test_info_lists_it_and_survives_a_broken_one(self, plugin: Path) -> None:
        text = self.run(plugin, "from portanet.__main__ import info; print(info())")
        assert "npu      usable  a plugin's device" in text
        assert "broken   absent  entry point broken = npu_plugin:no_such_function failed (AttributeError" in text

    def test_built_in_devices_cannot_be_replaced(self, plugin: Path) -> None:
        entry_points = plugin / "npu_plugin-1.0.dist-info" / "entry_points.txt"
        entry_points.write_text("[portanet.backends]\ncpu = npu_plugin:load\n")
        code = "import portanet; print([str(d) for d in portanet.devices() if d.name == 'npu'])"
        assert self.run(plugin, code) == "[]\n"


class TestNamespace:
    def test_of_a_backends_arrays(self, backend: Backend) -> None:
        assert namespace(backend.asarray([1.0])) is backend.xp

    @pytest.mark.parametrize(
        ("library", "device"), [("numpy", "cpu"), ("array_api_strict", "strict"), ("torch", "torch"), ("cupy", "cuda")]
    )
    def test_of_arrays_that_were_made_elsewhere(self, registry: ModuleType, library: str, device: str) -> None:
        made_by = pytest.importorskip(library, reason=f"{library} makes the array")
        if library == "cupy" and not made_by.is_available():
            pytest.skip("cupy finds no CUDA device")
        array = made_by.ones(3)
        assert namespace(array) is get_backend(device).xp
        assert float(namespace(array).sum(array)) == 3.0

    @pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
    def test_of_numpys_scalars(self, kind: str) -> None:
        """What NumPy's reductions give is an array of shape () on other backends."""
        assert namespace(np.asarray([1, 0], kind).max()) is get_backend("cpu").xp

    @pytest.mark.parametrize(
        "value", [[1.0], (1.0,), 1.0, None, "x", object(), range(3), np], ids=lambda v: type(v).__name__
    )
    def test_of_no_array(self, value: Any) -> None:
        with pytest.raises(TypeError, match=f"an array is needed, got {type(value).__name__}: convert it with"):
            namespace(value)

    def test_of_a_subclass_that_may_compute_otherwise(self) -> None:
        with pytest.raises(TypeError, match="an array is needed, got MaskedArray: convert it with"):
            namespace(np.ma.masked_array([1.0]))

    def test_of_an_array_whose_library_cannot_be_imported(
        self, registry: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib, "import_module", self.fail_for_torch(importlib.import_module))
        tensor = type("Tensor", (), {"__module__": "torch"})()
        with pytest.raises(TypeError, match="an array is needed, got Tensor"):
            namespace(tensor)

    @staticmethod
    def fail_for_torch(import_module: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(name: str, *rest: Any) -> ModuleType:
            if name == "torch":
                raise ImportError(f"No module named {name!r}")
            return import_module(name, *rest)

        return guarded

    def test_an_import_that_fails_is_reported_with_the_fix(
        self, registry: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib, "import_module", self.fail_for_torch(importlib.import_module))
        message = r"import torch failed \(No module named 'torch'\): pip install torch"
        with pytest.raises(BackendUnavailable, match=message):
            get_backend("torch")


class TestBackendOf:
    def test_an_array_of_a_backend(self, backend: Backend) -> None:
        assert backend_of(backend.asarray([1.0])).device == backend.device

    @pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
    def test_numpys_scalars(self, kind: str) -> None:
        assert backend_of(np.asarray([1, 0], kind).max()) is get_backend("cpu")

    def test_an_array_on_another_device_of_the_same_library(self, registry: ModuleType) -> None:
        class Chip:
            __module__ = "chips"

            def __init__(self, device: str):
                self.device = device

        def load(ordinal: str | None) -> Backend:
            if int(ordinal or 0) > 1:
                raise BackendUnavailable("there are 2")
            name = f"chip:{ordinal or 0}"
            return replace(registry.get_backend("cpu"), name=name, array_type=Chip, device=name)

        registry.register("chip", load, library="chips")
        assert [backend_of(Chip(f"chip:{i}")).name for i in (1, 0)] == ["chip:1", "chip:0"]

    @pytest.mark.strict
    def test_a_device_that_no_backend_has(self) -> None:
        strict = pytest.importorskip("array_api_strict", reason="it has several devices")
        with pytest.raises(
            ValueError, match=r"array is on .*'device2'.*, a device of no backend: pass it as NumPy data"
        ):
            backend_of(strict.ones(2, device=strict.Device("device2")))

    def test_of_no_array(self) -> None:
        with pytest.raises(TypeError, match="an array is needed, got list: convert it with"):
            backend_of([1.0])


def test_kernels_are_overridden_by_the_type_of_the_array() -> None:
    assert kernel_override("random_bits", np.zeros(2)) is get_backend("cpu").kernels["random_bits"]
    assert kernel_override("random_bits", get_backend("strict").asarray([0.0])) is None
    assert kernel_override("no such kernel", np.zeros(2)) is None
