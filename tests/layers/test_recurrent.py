"""Recurrent layers: beside PyTorch, with padding, backwards, and bad input."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.layers.cache import Cache, cached
from portanet.layers.recurrent import Recurrent
from portanet.testing import check_gradients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 4))
LENGTHS = np.asarray([6, 2, 4])
PADDED = X * (np.arange(6) < LENGTHS[:, None])[..., None]
KINDS = [pn.RNN, pn.GRU, pn.LSTM]
NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


def placed(layer: pn.Layer) -> Any:
    return layer.initialize(seed=0, dtype="float64")


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_pytorch(kind: Any, sequences: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = placed(kind(4, 5, return_sequences=sequences))
    peer = getattr(torch.nn, kind.__name__)(4, 5, batch_first=True, dtype=torch.float64)
    for name in NAMES:
        getattr(peer, f"{name}_l0").data = torch.tensor(getattr(layer, name).data.T.copy())
    x = torch.tensor(X, requires_grad=True)
    outputs, _ = peer(x)
    expected = outputs if sequences else outputs[:, -1]
    y, pullback = layer.vjp(X)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    dy = RNG.normal(size=y.shape)
    expected.backward(torch.tensor(dy))
    layer.zero_grad()
    np.testing.assert_allclose(pullback(dy), x.grad.numpy(), rtol=1e-10, atol=1e-13)
    for name in NAMES:
        gradient = getattr(peer, f"{name}_l0").grad.numpy().T
        np.testing.assert_allclose(getattr(layer, name).grad, gradient, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_two_layers_and_directions_are_those_of_pytorch(kind: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    first, second = (pn.Bidirectional(kind(n, 5, return_sequences=True)) for n in (4, 10))
    net = placed(pn.Sequential(first, second))
    options = {"batch_first": True, "num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    peer = getattr(torch.nn, kind.__name__)(4, 5, **options)
    for i, layer in enumerate((first, second)):
        for direction, suffix in ((layer.layer, f"_l{i}"), (layer.backward_layer, f"_l{i}_reverse")):
            for name in NAMES:
                getattr(peer, name + suffix).data = torch.tensor(getattr(direction, name).data.T.copy())
    np.testing.assert_allclose(net(X), peer(torch.tensor(X))[0].detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_as_if_it_were_not_there(kind: Any, sequences: bool, backwards: bool) -> None:
    options = {"return_sequences": sequences, "go_backwards": backwards}
    masked, plain = (placed(kind(4, 5, mask_zeros=mask, **options)) for mask in (True, False))
    y, pullback = masked.vjp(PADDED)
    dy = RNG.normal(size=y.shape)
    dx = pullback(dy)
    assert not dx[PADDED == 0].any()
    for i, length in enumerate(LENGTHS):
        short = slice(i, i + 1), slice(0, length)
        expected, pull = plain.vjp(X[short])
        found = y[short] if sequences else y[i : i + 1]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(dx[short], pull(dy[short] if sequences else dy[i : i + 1]), rtol=1e-10, atol=1e-13)
        assert not sequences or not y[i, length:].any()
    np.testing.assert_allclose(masked.flat.grad, plain.flat.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_of_padding_alone_keeps_the_first_state(kind: Any) -> None:
    layer = placed(kind(4, 5, mask_zeros=True))
    y, pullback = layer.vjp(np.zeros((2, 3, 4)))
    assert not y.any()
    assert not pullback(np.ones_like(y)).any()
    assert not layer.flat.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_backwards_is_the_reversed_sequence(kind: Any) -> None:
    forward, backward = (placed(kind(4, 5, return_sequences=True, go_backwards=back)) for back in (False, True))
    np.testing.assert_array_equal(backward(X)[:, ::-1], forward(np.ascontiguousarray(X[:, ::-1])))


class Decaying(Recurrent):
    """``h_t = tanh(a_t) + rate u_t``: a step that depends on a setting."""

    n_gates = 1

    def __init__(self, input_size: int | None = None, hidden_size: int | None = None, *, rate: float = 0.5):
        super().__init__(input_size, hidden_size, return_sequences=True)
        self.rate = rate

    def step(self, xp: Any, a: Any, u: Any, state: Any) -> Any:
        new = xp.tanh(a[0])

        def pullback(dstate: Any) -> Any:
            (dh,) = dstate
            return (dh * (1 - new * new),), (self.rate * dh,), (xp.zeros_like(new),)

        return (new + self.rate * u[0],), pullback


class WithWeight(Decaying):
    """A step that reads a weight, which no backend may keep as a constant."""

    def step(self, xp: Any, a: Any, u: Any, state: Any) -> Any:
        self.rate = float(self.bias_ih.data[0])
        return super().step(xp, a, u, state)


@pytest.mark.parametrize("kind", [Decaying, WithWeight])
def test_layers_of_your_own_have_the_gradient_of_their_step(kind: Any) -> None:
    pn.testing.check_gradients(placed(Decaying(4, 3)), X)
    layer = placed(kind(4, 3))
    first = layer(X)
    layer.rate = 0.1
    layer.bias_ih.data[0] += 0.1
    changed = layer(X)
    np.testing.assert_allclose(changed, portable(layer, X), rtol=1e-12, atol=1e-14)
    assert np.abs(changed - first).max() > 1e-3


def portable(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the states of a layer by its own step, in a loop."""
    h = np.zeros((len(x), layer.hidden_size))
    outputs = []
    for x_t in np.moveaxis(x, 1, 0):
        a, u = x_t @ layer.weight_ih.data + layer.bias_ih.data, h @ layer.weight_hh.data + layer.bias_hh.data
        ((h,), _) = layer.step(np, (a,), (u,), (h,))
        outputs.append(h)
    return np.stack(outputs, axis=1)


def test_the_input_size_comes_from_the_data() -> None:
    net = pn.Sequential(pn.Bidirectional(pn.LSTM(5, return_sequences=True)), pn.GRU(3))
    assert net(X.astype("float32")).shape == (3, 3)
    assert repr(net) == "Sequential(Bidirectional(LSTM(4, 5, return_sequences=True)), GRU(10, 3))"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[..., 0], r"needs x of shape \(N, T, 4\), got \(N, 6\)"),
        (X[..., :3], r"needs x of shape \(N, ..., 4\), got \(N, 6, 3\)"),
        (X[:, :0], "needs x with at least one position"),
    ],
)
def test_inputs_that_are_no_sequences_are_refused(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        placed(pn.GRU(4, 5))(x)


@pytest.mark.parametrize("layer", [pn.Linear(4, 5), pn.GRU(4, 5, go_backwards=True)])
def test_what_cannot_be_bidirectional_is_refused(layer: Any) -> None:
    with pytest.raises(TypeError, match="layer must be an RNN, GRU or LSTM that goes forwards"):
        pn.Bidirectional(layer)


def test_a_saved_network_has_the_weights_of_both_directions(tmp_path: Any) -> None:
    net = placed(pn.Sequential(pn.Embedding(9, 4, padding_idx=0), pn.Bidirectional(pn.GRU(4, 5, mask_zeros=True))))
    ids = np.asarray([[1, 5, 8, 0, 0]])
    net.save(tmp_path / "net")
    np.testing.assert_array_equal(pn.load(tmp_path / "net")(ids), net(ids))


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_initial_and_last_states_are_those_of_pytorch(kind: Any, sequences: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = placed(kind(4, 5, return_sequences=sequences, return_state=True))
    peer = getattr(torch.nn, kind.__name__)(4, 5, batch_first=True, dtype=torch.float64)
    for name in NAMES:
        getattr(peer, f"{name}_l0").data = torch.tensor(getattr(layer, name).data.T.copy())
    states = [RNG.normal(size=(3, 5)) for _ in range(layer.n_states)]
    x, *given = (torch.tensor(a, requires_grad=True) for a in (X, *states))
    first = [state[None] for state in given]
    outputs, last = peer(x, tuple(first) if len(first) > 1 else first[0])
    last = [state[0] for state in (last if isinstance(last, tuple) else (last,))]
    expected = [outputs if sequences else outputs[:, -1], *last]
    y, pullback = layer.vjp((X, *states))
    dy = tuple(RNG.normal(size=part.shape) for part in y)
    for found, part in zip(y, expected, strict=True):
        np.testing.assert_allclose(found, part.detach().numpy(), rtol=1e-12, atol=1e-14)
    torch.autograd.backward(expected, [torch.tensor(d) for d in dy])
    layer.zero_grad()
    for found, tensor in zip(pullback(dy), (x, *given), strict=True):
        np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-10, atol=1e-13)
    for name in NAMES:
        gradient = getattr(peer, f"{name}_l0").grad.numpy().T
        np.testing.assert_allclose(getattr(layer, name).grad, gradient, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "mask_zeros": True}, {"go_backwards": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_states_are_central_differences(backend: Backend, kind: Any, options: Any) -> None:
    layer = kind(4, 3, return_state=True, **options)
    check_gradients(layer, (X, *(RNG.normal(size=(3, 3)) for _ in range(layer.n_states))), device=backend)
    check_gradients(layer, X, device=backend)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_hands_its_state_to_a_decoder(kind: Any) -> None:
    n = kind.n_states
    states, last = tuple(f"s{i}" for i in range(n)), tuple(f"t{i}" for i in range(n))
    net = pn.Graph(
        (kind(5, return_state=True), "source", ("encoded", *states)),
        (kind(5, return_sequences=True, return_state=True), ("target", *states), ("decoded", *last)),
        (pn.Linear(2), "decoded", "y"),
        outputs="y",
    )
    x = {"source": X, "target": RNG.normal(size=(3, 2, 3))}
    net.build(
        {
            "source": (6, 4),
            "target": (2, 3),
        }
    )
    check_gradients(net, x)


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_states_are_refused(kind: Any) -> None:
    layer = placed(kind(4, 5))
    state = np.zeros((3, 5))
    for states in ((state[:, :4],) * layer.n_states, (state,) * (layer.n_states + 1)):
        with pytest.raises(ValueError, match=r"needs a tuple \(x, h"):
            layer.vjp((X, *states))
    with pytest.raises(ValueError, match="hold"):
        layer.vjp((X, *(state[:2],) * layer.n_states))
    with pytest.raises(TypeError, match="returns y"):
        pn.Bidirectional(kind(4, 5, return_state=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_parts_has_the_outputs_of_the_whole(kind: Any) -> None:
    layer = placed(kind(4, 5, return_sequences=True))
    with cached(Cache()) as cache:
        first = layer(X[:, :2])
        copied = Cache(cache.arrays())
    with cached(copied):
        rest = layer(X[:, 2:])
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), layer(X))
    with cached(Cache()), pytest.raises(ValueError, match="cannot come in parts"):
        placed(kind(4, 5, go_backwards=True))(X)
