"""Graph: named values, several inputs and outputs, and layers of tuples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.testing import check_gradients
from portanet.typing import Array, Pullback, Shapes

rng = np.random.default_rng(0)
USER, ITEM, IDS = rng.normal(size=(3, 6)), rng.normal(size=(3, 5)), np.asarray([1, 0, 3])


def towers() -> pn.Graph:
    return pn.Graph(
        (pn.Sequential(pn.Linear(6, 4), pn.TanH()), "user", "u"),
        (pn.Linear(5, 4), "item", "v"),
        (pn.Dot(), ("u", "v"), "score"),
    )


def two_heads() -> pn.Graph:
    return pn.Graph(
        (pn.Sequential(pn.Linear(6, 4), pn.TanH()), "x", "code"),
        (pn.Linear(4, 6), "code", "copy"),
        (pn.Linear(4, 3), "code", "label"),
    )


class Split(pn.Layer):
    """Both halves of the features."""

    def output_shape(self, shape: Shapes) -> Shapes:
        return (*shape[:-1], shape[-1] // 2), (*shape[:-1], shape[-1] - shape[-1] // 2)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Any, Pullback]:
        half, xp = x.shape[-1] // 2, pn.namespace(x)

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return xp.concat(dy, axis=-1) if need_dx else None

        return (x[..., :half], x[..., half:]), pullback


@pytest.mark.parametrize("x", [{"user": USER, "item": ITEM}, {"item": ITEM, "user": USER}, (USER, ITEM)])
def test_gradients_of_several_inputs(backend: Backend, x: Any) -> None:
    check_gradients(towers(), x, device=backend)


def test_gradients_of_several_outputs(backend: Backend) -> None:
    check_gradients(two_heads(), USER, device=backend)


def test_integers_and_floats_in_one_network(backend: Backend) -> None:
    net = pn.Graph((pn.Embedding(4, 3), "id", "a"), (pn.Linear(6, 3), "x", "b"), (pn.Add(), ("a", "b"), "y"))
    check_gradients(net, {"id": IDS, "x": USER}, device=backend)


@pytest.mark.parametrize("outputs", [None, ("a", "b"), "b", ("b", "y")])
def test_parts_of_a_tuple_are_used_or_not(backend: Backend, outputs: Any) -> None:
    net = pn.Graph((Split(), "x", ("a", "b")), (pn.Linear(3, 2), "a", "y"), outputs=outputs)
    check_gradients(net, USER, device=backend)


def test_layers_of_tuples_have_the_gradients_of_central_differences(backend: Backend) -> None:
    for layer in (pn.Add(), pn.Multiply(), pn.Concatenate()):
        check_gradients(layer, (USER, 2 * USER, USER + 1), device=backend)
    check_gradients(pn.Dot(), (USER, USER + 1), device=backend)
    check_gradients(
        pn.MultiHeadAttention(4, 2), (rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))), device=backend
    )


def test_a_layer_in_two_nodes_shares_its_weights(tmp_path: Path) -> None:
    tower = pn.Linear(6, 4)
    net = pn.Graph((tower, "a", "u"), (tower, "b", "v"), (pn.Dot(), ("u", "v"), "y")).initialize()
    assert net.n_parameters == 28
    check_gradients(net, (USER, USER[::-1].copy()))
    net.save(tmp_path / "net.safetensors")
    assert pn.load(tmp_path / "net.safetensors").n_parameters == 28


def test_a_saved_graph_returns_the_same(tmp_path: Path) -> None:
    for net, x in ((towers(), {"user": USER, "item": ITEM}), (two_heads(), USER)):
        net.initialize(dtype="float64").save(tmp_path / "net.safetensors")
        again = pn.load(tmp_path / "net.safetensors")
        assert repr(again) == repr(net)
        one, other = again.predict(x), net.predict(x)
        for a, b in zip(*(y.values() if isinstance(y, dict) else [y] for y in (one, other)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_only_what_leads_to_a_parameter_is_pulled_back() -> None:
    calls = []

    class Counted(pn.TanH):
        def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
            y, pull = super().vjp(x, train=train)

            def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
                calls.append(need_dx)
                return pull(dy, need_dx=need_dx, need_grads=need_grads)

            return y, pullback

    net = pn.Graph((Counted(), "x", "a"), (pn.Linear(6, 2), "a", "y"))
    y, pullback = net.initialize(dtype="float64").vjp(USER)
    assert pullback(y, need_dx=False) is None
    assert not calls
    assert pullback(y).shape == USER.shape
    assert calls == [True]


def test_frozen_nodes_get_no_gradient() -> None:
    net = towers().initialize(dtype="float64")
    net.nodes[0][0].freeze()
    y, pullback = net.vjp({"user": USER, "item": ITEM})
    pullback(y, need_dx=False)
    assert [name for name, p in net.named_parameters() if np.any(p.grad)] == ["v.weight", "v.bias"]


def test_input_sizes_come_from_shapes_or_data() -> None:
    def made() -> pn.Graph:
        return pn.Graph((pn.Linear(4), "user", "u"), (pn.Linear(4), "item", "v"), (pn.Dot(), ("u", "v"), "score"))

    shapes = {"user": (6,), "item": (5,)}
    assert repr(made().build(shapes)) == repr(made().build(((6,), (5,))))
    net = made()
    assert net.predict({"user": USER, "item": ITEM}).shape == (3, 1)
    assert net.nodes[1][0].arguments()["in_features"] == 5
    net = made()
    with pytest.raises(ValueError, match="Dot"):
        net.build({"user": (6,), "item": (5, 2)})
    assert net.topology.unsized


def test_outputs_of_predict_have_the_structure_of_the_network(backend: Backend) -> None:
    net, x = two_heads().initialize(device=backend, dtype="float64"), np.repeat(USER, 5, axis=0)
    y, batched = net.predict(x), net.predict(x, batch_size=4)
    assert {name: part.shape for name, part in y.items()} == {"copy": (15, 6), "label": (15, 3)}
    for name, part in y.items():
        assert isinstance(part, np.ndarray)
        np.testing.assert_allclose(batched[name], part, rtol=1e-12)
    on_device = (
        towers()
        .initialize(device=backend, dtype="float64")
        .predict({"user": backend.asarray(USER), "item": backend.asarray(ITEM)})
    )
    assert isinstance(on_device, backend.array_type)


REFUSED: dict[str, tuple[Any, Any]] = {
    "node 0 must be a tuple": ((pn.TanH(),), {}),
    "node 0 must be a layer": ((("tanh", "x", "y"),), {}),
    "node 0 takes must be a name": (((pn.TanH(), 1, "y"),), {}),
    "node 0 gives must be a name": (((pn.TanH(), "x", "not a name"),), {}),
    "node 0 takes 'y', which it or a later node gives": (((pn.TanH(), "y", "x"), (pn.TanH(), "a", "y")), {}),
    "node 1 gives 'y', which is given already": (((pn.TanH(), "x", "y"), (pn.ReLU(), "x", "y")), {}),
    "node 0 takes 'x', which it or a later node gives": (((pn.TanH(), "x", "x"),), {}),
    "outputs names 'z', which no node gives": (((pn.TanH(), "x", "y"),), {"outputs": "z"}),
    "needs at least one node": ((), {}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_graph_is_refused(message: str) -> None:
    nodes, options = REFUSED[message]
    with pytest.raises((ValueError, TypeError), match=message):
        pn.Graph(*nodes, **options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (USER, "x must be a dict with the arrays user, item"),
        ({"user": USER}, "x must have the arrays user, item, got user"),
        ((USER,), "x must be a dict with the arrays user, item"),
        ({"user": USER, "item": ITEM[:2]}, r"the arrays of x hold \[3, 2\] examples"),
        ({"user": USER, "item": 1.0}, "single number"),
    ],
)
def test_unfit_inputs_are_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        towers().predict(x)


def test_layers_of_tuples_refuse_other_shapes() -> None:
    for layer in (pn.Add(), pn.Multiply(), pn.Dot()):
        with pytest.raises(ValueError, match=r"needs arrays of one shape, got \(N, 6\) and \(N, 5\)"):
            layer.vjp((USER, ITEM))
    with pytest.raises(ValueError, match="differ in the last axis only"):
        pn.Concatenate().vjp((USER, np.ones((3, 2, 2))))
    with pytest.raises(ValueError, match="needs a tuple of two arrays or more"):
        pn.Add()(USER)
    with pytest.raises(ValueError, match="needs two arrays"):
        pn.Dot()((USER, USER, USER))


def test_gradients_of_another_structure_are_refused() -> None:
    net = two_heads().initialize(dtype="float64")
    y, pullback = net.vjp(USER)
    for dy in (USER, {"copy": y["copy"]}, {**y, "label": y["label"][:1]}, tuple(y.values())):
        with pytest.raises(ValueError, match="dy must have the structure and shapes of the outputs"):
            pullback(dy)


def test_summary_and_notebooks_show_each_node(capsys: pytest.CaptureFixture[str]) -> None:
    net = towers()
    net.summary({"user": (6,), "item": (5,)})
    assert "score  Dot()" in capsys.readouterr().out
    assert "Dot" in net._repr_html_()


def test_a_node_may_take_a_value_twice(backend: Backend) -> None:
    net = pn.Graph((pn.Linear(6, 4), "x", "a"), (pn.Multiply(), ("a", "a"), "y"))
    check_gradients(net, USER, device=backend)
