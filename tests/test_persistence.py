import errno
import json
import os
import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import persistence
from portanet.backends import Backend
from portanet.files import read_tensors, write_tensors
from portanet.typing import Pullback
from tests.cases import LAYERS, linear

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


class Scale(pn.Layer):
    """A user's own layer."""

    def __init__(self, features: int, *, start: float = 1.0):
        self.features, self.start = features, start
        self.weight = pn.Parameter((features,), pn.initializers.Constant(start))

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                self.weight.accumulate((x * dy).sum(axis=0))
            return dy * self.weight.data if need_dx else None

        return x * self.weight.data, pullback


def a_net() -> pn.Sequential:
    return pn.Sequential(
        pn.Linear(4, 3, init=pn.initializers.he_normal),
        pn.Sequential(pn.LeakyReLU(0.2), pn.Dropout(0.3)),
        Scale(3, start=0.5),
        pn.Linear(3, 2, bias=False),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_equals_the_saved_one(backend: Backend, path: Path, dtype: str) -> None:
    net = pn.Sequential(*[layer for layer in a_net() if not isinstance(layer, Scale)]).initialize(3, dtype=dtype)
    net.vjp(net.asarray(X))  # moves the dropout stream on
    net.to(backend).save(path)
    copy = pn.load(path, device="cpu")
    assert repr(copy) == repr(net)
    assert copy.flat.dtype == dtype
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(copy.get_weights()[name], values)
    assert pn.load(path, device=backend).flat.backend is backend


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer_is_saved(path: Path, layer: pn.Layer, x: Any) -> None:
    layer.initialize(seed=1, device="cpu", dtype="float64").save(path)
    copy = pn.load(path)
    assert repr(copy) == repr(layer)
    np.testing.assert_array_equal(copy(x), layer(x))


def test_a_layer_of_the_users_own_is_saved(path: Path) -> None:
    net = a_net().initialize(seed=2)
    net.save(path)
    copy = pn.load(path)
    assert isinstance(copy, pn.Sequential)
    assert isinstance(copy[2], Scale)
    np.testing.assert_array_equal(copy(X), net(X))


def test_arrays_that_are_not_contiguous_are_saved_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = pn.Linear(4, 3).initialize(seed=0)
    weights = {"weight": np.asfortranarray(net.weight.data), "bias": np.arange(6.0, dtype="float32")[::-2]}
    monkeypatch.setattr(type(net), "get_weights", lambda self: weights)
    net.save(path)
    monkeypatch.undo()
    for name, values in pn.load(path).get_weights().items():
        np.testing.assert_array_equal(values, weights[name])


def test_other_programs_read_the_weights(path: Path) -> None:
    from safetensors.numpy import load_file

    net = a_net().initialize(seed=0)
    net.save(path)
    arrays = load_file(path)
    assert sorted(arrays) == ["0.bias", "0.weight", "1.1.stream", "2.weight", "3.weight"]
    np.testing.assert_array_equal(arrays["3.weight"], linear(net, 3).weight.data)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = a_net().initialize(seed=0)
    net.save(path)
    before = path.read_bytes()

    def full_disk(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"no space left on device: .*net\.safetensors"):
        net.initialize(seed=1).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_saved_file_has_the_usual_permissions(path: Path) -> None:
    a_net().save(path)
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pn.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        a_net().save(tmp_path / "nowhere" / "net")


def test_a_path_is_that_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        pn.load(tmp_path)
    path: Any
    for path in (None, 3, b"net", ["net"]):
        for use in (pn.load, pn.Linear(1, 1).initialize().save):
            with pytest.raises(ValueError, match="path must be a string or Path, got"):
                use(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_named(path: Path, keep: int) -> None:
    a_net().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(pn.FileFormatError, match=r"net\.safetensors cannot be loaded: it is no safetensors file"):
        pn.load(path)


def rewritten(path: Path, **changes: str) -> None:
    """Change the texts of a saved file, and its hash too, as a hostile writer would."""
    arrays, metadata = read_tensors(path)
    write_tensors(path, arrays, {**metadata, **changes})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "portanet 99"}, "it was not written by net.save, or was written by another version"),
        ({"architecture": '{"type": "Unknown"}'}, "type 'Unknown' is unknown: import the module"),
        ({"architecture": '{"type": "portanet.Linear", "size": 3}'}, "Linear does not take these arguments"),
        (
            {"architecture": '{"type": "portanet.Linear", "in_features": 3, "out_features": 2}'},
            "its arrays and its architecture differ: 0.bias, ",
        ),
        ({"architecture": "[1, 2]"}, "which is no layer"),
        ({"architecture": "{"}, "cannot be loaded: Expecting property name"),
        ({"dtype": "int8"}, "dtype must be"),
    ],
    ids=str,
)
def test_a_wrong_header_says_what_is_wrong(path: Path, metadata: dict[str, str], message: str) -> None:
    a_net().save(path)
    rewritten(path, **metadata)
    with pytest.raises(pn.FileFormatError, match=message):
        pn.load(path)


def test_a_users_class_named_linear_is_not_taken_for_portanets(path: Path) -> None:
    pn.Linear(4, 2).save(path)

    class Linear(pn.Layer):
        def __init__(self, in_features: int, out_features: int):
            raise AssertionError("this is not the saved class")

    assert type(pn.load(path)) is pn.Linear


def test_an_argument_that_json_cannot_hold_is_refused(path: Path) -> None:
    class Odd(pn.Layer):
        def __init__(self, function: Any):
            self.function = function

    with pytest.raises(TypeError, match="cannot be saved"):
        Odd(np.sin).save(path)
    assert not path.exists()


def test_a_layer_used_twice_is_saved_once(path: Path) -> None:
    shared = pn.Linear(4, 4)
    net = pn.Sequential(shared, pn.ReLU(), pn.Residual(pn.Sequential(shared, pn.TanH()))).initialize(seed=1)
    net.save(path)
    copy = pn.load(path)
    assert isinstance(copy, pn.Sequential)
    residual = copy[2]
    assert isinstance(residual, pn.Residual)
    assert isinstance(residual.branch, pn.Sequential)
    assert copy[0] is residual.branch[0]
    np.testing.assert_array_equal(copy(X), net(X))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_parameter_used_twice_is_saved_once(path: Path, name: str) -> None:
    tied = pn.Sequential(pn.Linear(4, 4), pn.Linear(4, 4))
    setattr(tied[1], name, getattr(tied[0], name))
    tied.initialize(seed=1).save(path)
    copy = pn.load(path)
    assert isinstance(copy, pn.Sequential)
    assert getattr(copy[0], name) is getattr(copy[1], name)
    np.testing.assert_array_equal(copy(X), tied(X))


def test_frozen_layers_are_frozen_when_loaded(path: Path) -> None:
    net = pn.Sequential(pn.Linear(4, 4), pn.BatchNorm(4), pn.Linear(4, 2))
    net[0].freeze()
    net.save(path)
    copy = pn.load(path)
    assert isinstance(copy, pn.Sequential)
    assert [layer.frozen for layer in copy] == [True, False, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net[0], "negative_slope", 0.5),
        lambda net: setattr(net[1], "encoder", pn.Sequential(pn.Linear(4, 2), pn.TanH())),
        lambda net: setattr(net[2], "eps", 1.0),
        lambda net: net.layers.append(pn.ReLU()),
    ],
    ids=["negative_slope", "encoder", "eps", "append"],
)
def test_what_was_changed_after_construction_is_in_the_repr_the_file_and_the_copies(
    path: Path, change: Callable[..., Any]
) -> None:
    coder = pn.AutoEncoder(pn.Sequential(pn.Linear(4, 2), pn.Sigmoid()), pn.Linear(2, 4))
    net = pn.Sequential(pn.LeakyReLU(), coder, pn.BatchNorm(4)).initialize(seed=1)
    before = repr(net)
    change(net)
    net.to("cpu", seed=3).save(path)
    assert repr(net) != before
    for copy in (pn.load(path), pickle.loads(pickle.dumps(net)), deepcopy(net)):
        assert repr(copy) == repr(net)
        np.testing.assert_array_equal(copy(X), net(X))


def test_loading_calls_only_registered_classes(path: Path) -> None:
    a_net().save(path)
    rewritten(path, architecture='{"type": "os.system", "command": "id"}')
    with pytest.raises(pn.FileFormatError, match=r"type 'os\.system' is unknown"):
        persistence.load(path)


class Perceptron(pn.Sequential):
    """A user's network that makes its own layers."""

    def __init__(self, hidden: int):
        super().__init__(pn.Linear(4, hidden), pn.ReLU(), pn.Linear(hidden, 3))
        self.hidden = hidden


def test_a_network_class_of_the_users_own_is_saved(path: Path) -> None:
    net = Perceptron(np.int64(5)).initialize(seed=1)  # type: ignore[arg-type]
    net.save(path)
    copy = pn.load(path)
    assert repr(copy) == repr(net) == "Perceptron(5)"
    np.testing.assert_array_equal(copy(X), net(X))


def test_a_network_that_its_constructor_would_not_build_again_is_refused(path: Path) -> None:
    net = Perceptron(5)
    net.layers[1] = pn.TanH()
    with pytest.raises(ValueError, match=r"its part '1' is TanH\(\), but the .* give ReLU\(\): change"):
        net.save(path)
    assert not path.exists()


def test_a_layer_that_does_not_keep_its_arguments_says_what_to_do(path: Path) -> None:
    class Forgetful(pn.Flatten):
        def __init__(self, size: int):
            super().__init__()

    assert repr(Forgetful(3)) == "Forgetful(...)"
    with pytest.raises(TypeError, match=r"Forgetful does not keep its argument 'size': set self\.size = size"):
        Forgetful(3).save(path)


def test_defaults_are_in_the_file(path: Path) -> None:
    pn.BatchNorm(3).save(path)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["architecture"])["momentum"] == 0.1


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is no regular file"):
        a_net().save(tmp_path)
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    a_net().save(link)
    assert link.is_symlink()
    assert target.stat().st_size > 0


def test_each_frozen_flag_is_kept(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Linear(4, 3), pn.Linear(3, 2)).initialize(seed=0)
    net.freeze()
    net[1].unfreeze()
    net.save(tmp_path / "net")
    loaded = pn.load(tmp_path / "net")
    assert [layer.frozen for layer in loaded.topology.layers.values()] == [True, True, False]
    assert [parameter.frozen for parameter in loaded.parameters()] == [True, True, False, False]


class Kind(pn.Layer):
    def __init__(self, type: str):
        self.type = type

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        return x, lambda dy, **_: dy


def test_an_argument_called_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="rename its argument 'type'"):
        Kind("portanet.ReLU").save(tmp_path / "net")


class Sized(pn.Layer):
    def __init__(self, sizes: Any) -> None:
        self.sizes = sizes

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
        return x, lambda dy, *, need_dx=True, need_grads=True: dy


class WithOptions(pn.Layer):
    def __init__(self, **options: Any) -> None:
        self.options = options

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
        return x, lambda dy, *, need_dx=True, need_grads=True: dy


class Tied(pn.Layer):
    def __init__(self) -> None:
        self.weights = [pn.Parameter((2,), pn.initializers.ones) for _ in range(2)]

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
        return x, lambda dy, *, need_dx=True, need_grads=True: dy


@pytest.mark.parametrize("sizes", [[1, 2], (1, 2), np.asarray([1, 2]), [[1], [2, 3]]], ids=repr)
def test_lists_and_arrays_are_arguments(path: Path, sizes: Any) -> None:
    pn.Sequential(Sized(sizes)).save(path)
    tuples = ((1,), (2, 3)) if isinstance(sizes[0], list) else (1, 2)
    net: Any = pn.load(path)
    assert net[0].sizes == tuples


def test_arguments_without_names_of_their_own_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match=r"WithOptions takes \*\*options, which nothing keeps: name its arguments"):
        pn.Sequential(WithOptions(a=1)).save(path)
    assert repr(WithOptions(a=1)) == "WithOptions(...)"


def test_a_tie_within_a_list_is_refused(path: Path) -> None:
    layer = Tied()
    layer.weights[1] = layer.weights[0]
    with pytest.raises(ValueError, match=r"'0\.weights\.1' is the same array as '0\.weights\.0', within a list"):
        pn.Sequential(layer).save(path)
