from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.typing import Pullback
from tests.cases import linear


def a_net() -> pn.Sequential:
    return pn.Sequential(pn.Linear(4, 3), pn.TanH(), pn.Sequential(pn.Linear(3, 3), pn.ReLU()), pn.Linear(3, 2))


def test_sequential_is_a_list_of_layers() -> None:
    net = a_net()
    assert len(net) == 4
    assert list(net)[1] is net[1]
    assert isinstance(net[-1], pn.Linear)
    assert isinstance(net[1:], pn.Sequential)


def test_a_slice_gives_hidden_representations_with_the_same_weights() -> None:
    net, x = a_net().initialize(seed=0), np.ones((5, 4), "float32")
    np.testing.assert_array_equal(net[2:](net[:2](x)), net(x))
    assert np.shares_memory(net[:2].flat.data, net.flat.data)


def test_training_a_slice_trains_the_network_in_place() -> None:
    net = a_net().initialize(seed=0)
    before = net.get_weights()
    trainer = pn.Trainer(net[:2], pn.MSELoss(), pn.SGD(0.1))
    trainer.fit(np.ones((8, 4)), np.ones((8, 3)), progress=False)
    after = net.get_weights()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {"0.weight", "0.bias"}


def test_parameters_have_readable_names_in_order() -> None:
    assert list(dict(a_net().named_parameters())) == [
        "0.weight", "0.bias", "2.0.weight", "2.0.bias", "3.weight", "3.bias",
    ]  # fmt: skip


def test_append_and_pop_keep_the_weights_of_the_others() -> None:
    net = a_net().initialize(seed=0)
    kept = linear(net, 0).weight.data.copy()
    last = net.pop()
    net.append(pn.Linear(3, 7))
    assert net(np.ones((1, 4), "float32")).shape == (1, 7)
    np.testing.assert_array_equal(linear(net, 0).weight.data, kept)
    assert isinstance(last, pn.Linear)
    assert last.weight.data.shape == (3, 2)
    assert net.flat.data.size == net.n_parameters == 4 * 3 + 3 + 3 * 3 + 3 + 3 * 7 + 7


def test_gradients_of_a_layer_used_twice_are_added() -> None:
    shared = pn.Linear(3, 3)
    net = pn.Sequential(shared, pn.TanH(), shared)
    assert net.n_parameters == 12
    pn.testing.check_gradients(shared, np.ones((2, 3)))
    net.initialize(dtype="float64")
    x, dy = np.random.default_rng(0).normal(size=(2, 2, 3))
    net.vjp(x)[1](dy)

    def value(weights: np.ndarray) -> float:
        shared.weight.data[...] = weights
        return float(np.sum(net.forward(x) * dy))

    gradient, here = shared.weight.grad.copy(), shared.weight.data.copy()
    np.testing.assert_allclose(gradient, pn.testing.central_difference(value, here), rtol=1e-7)


class NoPullback(pn.TanH):
    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> None:
            raise AssertionError("this gradient is not needed")

        return self.forward(x), pullback

    def forward(self, x: Any) -> Any:
        return x


def test_layers_below_the_first_trained_one_are_not_pulled_back() -> None:
    net = pn.Sequential(pn.Flatten(), NoPullback(), pn.Linear(4, 2)).initialize()
    y, pullback = net.vjp(np.ones((3, 2, 2), "float32"))
    assert pullback(y, need_dx=False) is None
    assert net.flat.grad.any()
    with pytest.raises(AssertionError, match="not needed"):
        pullback(y, need_dx=True)


def test_a_wrong_shape_names_the_layer() -> None:
    with pytest.raises(
        ValueError, match=r"layer 3, after Sequential.*: Linear\(5, 2\) needs x of shape \(N, \.\.\., 5\), got \(N, 3\)"
    ):
        pn.Sequential(*a_net()[:3], pn.Linear(5, 2)).output_shape((4,))


@pytest.mark.parametrize("wrong", [[pn.ReLU()], pn.ReLU, "ReLU"], ids=repr)
def test_what_is_no_layer_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"layer( 0)? must be a layer, got"):
        pn.Sequential(wrong)
    net = a_net()
    with pytest.raises(TypeError, match=r"layer( 0)? must be a layer, got"):
        net.append(wrong)
    assert len(net) == 4


def test_an_empty_network_is_the_identity() -> None:
    x = np.ones((2, 3))
    assert pn.Sequential()(x) is x


def test_the_summary_counts_nested_layers(capsys: pytest.CaptureFixture[str]) -> None:
    a_net().summary((4,))
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[2:7]] == ["0", "1", "2.0", "2.1", "3"]
    assert printed.splitlines()[-1].split() == ["total", "35"]


def test_repr_is_the_constructor_call() -> None:
    net = pn.Sequential(pn.Linear(784, 100, bias=False), pn.Dropout(0.3), pn.Reshape(10, -1), pn.ELU(alpha=0.5))
    assert repr(net) == "Sequential(Linear(784, 100, bias=False), Dropout(p=0.3), Reshape(10, -1), ELU(alpha=0.5))"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [pn.Conv1D(1, 32, 3), pn.MaxPool1D(2), pn.Flatten(), pn.Linear(4024, 100)],
            r"layer 3, after Flatten\(\): Linear\(4024, 100\) needs x of shape \(N, \.\.\., 4024\), got \(N, 4064\): "
            r"Linear\(4064, 100\)\?",
        ),
        ([pn.Conv1D(1, 2, 3), pn.Linear(508, 10)], r"got \(N, 254, 2\): Flatten\(\) first, then Linear\(508, 10\)\?"),
        ([pn.Conv1D(1, 2, 3), pn.Conv1D(4, 8, 3)], r"got \(N, 254, 2\): Conv1D\(2, 8, \.\.\.\)\?"),
        ([pn.Reshape(256), pn.Conv1D(1, 2, 3)], r"got \(N, 256\): give x\[..., None\], with one"),
    ],
)
def test_a_wrong_shape_says_what_would_fit(layers: list[pn.Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pn.Sequential(*layers).output_shape((256, 1))


@pytest.mark.parametrize("activation", [pn.ReLU(), pn.Sigmoid(), pn.TanH(), pn.Softplus()], ids=str)
def test_pooling_before_a_monotonic_activation_gives_the_same_numbers(
    backend: Backend, activation: pn.Activation
) -> None:
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2))
    net = pn.Sequential(activation, pn.MaxPool2D(2)).to(backend, dtype="float64")
    y, pullback = net.vjp(net.asarray(x))
    with backend.activate():
        one_by_one, pullbacks = net.asarray(x), []
        for layer in net:
            one_by_one, back = layer.vjp(one_by_one)
            pullbacks.append(back)
        dx = y
        for back in reversed(pullbacks):
            dx = back(dx)
        np.testing.assert_array_equal(backend.to_numpy(y), backend.to_numpy(one_by_one))
        np.testing.assert_allclose(backend.to_numpy(pullback(y)), backend.to_numpy(dx), rtol=1e-12, atol=1e-12)


def test_an_activation_that_is_not_monotonic_stays_before_pooling() -> None:
    net = pn.Sequential(pn.GELU(), pn.MaxPool1D(2))
    np.testing.assert_allclose(net(np.asarray([[[-1.0], [-9.0]]])).ravel(), [-1e-18], atol=1e-15)


def test_a_list_of_layers_says_how_to_give_them() -> None:
    with pytest.raises(TypeError, match=r"layer 0 must be a layer, got \[.*\]: write Sequential\(\*layers\)"):
        pn.Sequential([pn.Linear(2, 2), pn.ReLU()])  # type: ignore[arg-type]


def test_layers_are_replaced_inserted_and_deleted_as_in_a_list() -> None:
    net = pn.Sequential(pn.Linear(3, 4), pn.Linear(4, 2)).initialize(seed=1)
    kept = net.get_weights()["0.weight"]
    net[-1] = pn.Linear(4, 5)
    net.insert(1, pn.ReLU())
    assert repr(net) == "Sequential(Linear(3, 4), ReLU(), Linear(4, 5))"
    assert net(np.ones((2, 3), dtype="float32")).shape == (2, 5)
    np.testing.assert_array_equal(net.get_weights()["0.weight"], kept)
    del net[1]
    assert repr(net) == "Sequential(Linear(3, 4), Linear(4, 5))"
    net.freeze()
    net[1] = pn.Linear(4, 6)
    assert net[1].frozen
    with pytest.raises(TypeError, match="layer must be a layer, got 3"):
        net[0] = 3  # type: ignore[assignment]
