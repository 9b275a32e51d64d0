"""Which layers, parameters and buffers a network has, and when they are looked up again."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.typing import Pullback


class Holder(pn.Layer):
    """Keeps layers in an attribute, and calls none."""

    def __init__(self, inside: Any):
        self.inside = inside

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        return x, lambda dy, *, need_dx=True, need_grads=True: dy if need_dx else None


def linear() -> pn.Linear:
    return pn.Linear(2, 2, bias=False)


CONTAINERS = {
    "layer": (linear, ["inside.weight"]),
    "parameter": (lambda: pn.Parameter((2,), pn.initializers.ones), ["inside"]),
    "list": (lambda: [linear(), linear()], ["inside.0.weight", "inside.1.weight"]),
    "tuple": (lambda: (linear(), linear()), ["inside.0.weight", "inside.1.weight"]),
    "dict": (lambda: {"a": linear(), "b": [linear()]}, ["inside.a.weight", "inside.b.0.weight"]),
    "nested": (lambda: [(linear(), {"c": linear()})], ["inside.0.0.weight", "inside.0.1.c.weight"]),
    "other things": (lambda: [3, "a", None, linear()], ["inside.3.weight"]),
}


@pytest.mark.parametrize(("build", "names"), CONTAINERS.values(), ids=CONTAINERS)
def test_layers_and_parameters_in_containers_are_found(
    backend: Backend, build: Callable[..., Any], names: list[str]
) -> None:
    net = Holder(build())
    assert list(net.named_parameters()) == names
    assert [p.flat for p in net.parameters()] == [None] * len(names)
    net.initialize(device=backend)
    assert net.flat.data.shape == (sum(p.size for p in net.parameters()),)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(twin.get_weights()) == names


def append(net: pn.Sequential) -> None:
    net.layers.append(linear())


def replace(net: pn.Sequential) -> None:
    net.layers[0] = pn.TanH()


def delete(net: pn.Sequential) -> None:
    del net.layers[0]


def assign(net: pn.Sequential) -> None:
    net.layers = [linear()]


def holder(net: pn.Sequential) -> Holder:
    layer = net.layers[1]
    assert isinstance(layer, Holder)
    return layer


def change_inside(net: pn.Sequential) -> None:
    holder(net).inside["b"] = linear()


def delete_inside(net: pn.Sequential) -> None:
    del holder(net).inside["a"]


def replace_inside(net: pn.Sequential) -> None:
    holder(net).inside["a"] = [linear(), linear()]


def append_inside(net: pn.Sequential) -> None:
    holder(net).inside["c"][0].append(linear())


def delete_attribute(net: pn.Sequential) -> None:
    del holder(net).inside


def assign_parameter(net: pn.Sequential) -> None:
    net.layers[0].weight = pn.Parameter((2, 3), pn.initializers.ones)


def assign_layer(net: pn.Sequential) -> None:
    net.layers[1].inside = linear()


def reorder(net: pn.Sequential) -> None:
    net.layers.reverse()


BEFORE = ["0.weight", "1.inside.a.weight", "1.inside.c.0.0.weight"]
CHANGES = {
    append: [*BEFORE, "2.weight"],
    replace: BEFORE[1:],
    delete: ["0.inside.a.weight", "0.inside.c.0.0.weight"],
    assign: ["0.weight"],
    change_inside: ["0.weight", "1.inside.a.weight", "1.inside.c.0.0.weight", "1.inside.b.weight"],
    delete_inside: ["0.weight", "1.inside.c.0.0.weight"],
    replace_inside: ["0.weight", "1.inside.a.0.weight", "1.inside.a.1.weight", "1.inside.c.0.0.weight"],
    append_inside: [*BEFORE, "1.inside.c.0.1.weight"],
    delete_attribute: ["0.weight"],
    assign_parameter: BEFORE,
    assign_layer: ["0.weight", "1.inside.weight"],
    reorder: ["0.inside.a.weight", "0.inside.c.0.0.weight", "1.weight"],
}


@pytest.mark.parametrize(("change", "names"), CHANGES.items(), ids=[change.__name__ for change in CHANGES])
def test_a_change_of_layers_is_noticed(change: Callable[..., Any], names: list[str]) -> None:
    net = pn.Sequential(linear(), Holder({"a": linear(), "c": [[linear()]]}))
    outer = pn.Sequential(net, pn.TanH())
    assert list(net.initialize().named_parameters()) == BEFORE
    before, outer_before = net.topology, outer.topology
    change(net)
    assert list(net.named_parameters()) == names
    assert list(outer.named_parameters()) == [f"0.{name}" for name in names]
    assert net.topology is not before
    assert outer.topology is not outer_before
    assert net.flat.data.size == net.n_parameters == sum(p.size for p in net.named_parameters().values())


def test_the_topology_is_kept_while_nothing_changes() -> None:
    net = pn.Sequential(pn.Linear(2, 2), pn.BatchNorm(2), Holder({"a": [linear()]}), pn.Dropout()).initialize()
    kept = net.topology
    trainer = pn.Trainer(net, pn.MSELoss(), pn.Adam())
    trainer.fit(np.ones((4, 2)), np.ones((4, 2)), progress=False)
    net.predict(np.ones((4, 2)))
    net.set_weights(net.get_weights())
    net[1].momentum = 0.5
    net.to(dtype="float64")
    assert repr(net)
    assert net.topology is kept
    assert net.parameters() == kept.parameter_list


def test_layers_are_named_in_order() -> None:
    net = pn.Sequential(pn.Linear(2, 2), pn.AutoEncoder(pn.TanH(), pn.Sequential(pn.Dropout())))
    assert list(net.topology.layers) == ["", "0", "1", "1.encoder", "1.decoder", "1.decoder.0"]
    assert list(net.topology.buffers) == ["1.decoder.0.stream"]


def test_a_layer_that_is_used_twice_appears_once_and_its_further_names_are_shared() -> None:
    twice = pn.Sequential(pn.Linear(2, 2), pn.BatchNorm(2))
    topology = pn.Sequential(twice, pn.TanH(), twice).topology
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert [*topology.parameters, *topology.buffers] == [f"0.{name}" for name in names]
    assert list(topology.layers) == ["", "0", "0.0", "0.1", "1"]
    assert topology.shared == {f"2.{name}": f"0.{name}" for name in names}


def test_a_parameter_that_is_used_twice_appears_once_and_its_further_name_is_shared() -> None:
    first, second = pn.Linear(2, 2), pn.Linear(2, 2)
    net = pn.Sequential(first, second)
    second.weight = first.weight
    assert list(net.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    assert net.topology.shared == {"1.weight": "0.weight"}
    assert net.initialize().flat.data.size == 8


def test_a_layer_that_contains_itself_is_found_once() -> None:
    net = Holder([])
    net.inside.append(net)
    assert list(net.topology.layers) == [""]


class KeepsTuple(pn.Layer):
    """A layer that keeps arrays of its last call, as a tuple."""

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        self.cache: tuple[Any, ...] = (x, 2 * x)
        return x, lambda dy, *, need_dx=True, need_grads=True: dy


def test_a_tuple_of_arrays_changes_no_network() -> None:
    net = pn.Sequential(pn.Linear(3, 2), KeepsTuple()).initialize()
    before = net.topology
    net.vjp(np.ones((4, 3), "float32"))
    assert net.topology is before


def test_a_tuple_of_layers_is_found() -> None:
    net = KeepsTuple()
    before = net.topology
    net.cache = ((pn.Linear(3, 2),),)
    assert net.topology is not before
    assert list(net.named_parameters()) == ["cache.0.0.weight", "cache.0.0.bias"]
