"""Modules of PyTorch for sequences as networks and back: equal outputs, equal gradients, equal weights."""

import copy
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.interop import from_torch, load_state_dict, to_torch

TOLERANCE: Any = {"rtol": 1e-9, "atol": 1e-11}
X = np.random.default_rng(0).normal(size=(3, 5, 4))
IDS = np.asarray([[1, 4, 0, 5], [2, 2, 3, 0]])

pytestmark = pytest.mark.torch


def modules(torch: ModuleType) -> dict[str, tuple[Any, str]]:
    """Modules, and the networks that they become."""
    nn = torch.nn

    class Classifier(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, recurrent: Any, how: str):
            super().__init__()
            self.embedding = nn.Embedding(6, 4, padding_idx=0)
            self.recurrent, self.how, self.head = recurrent, how, nn.Linear(3, 2)

        def forward(self, ids: Any) -> Any:
            if self.how == "cell":
                _, (h, _) = self.recurrent(self.embedding(ids))
                return self.head(h[-1])
            y, h = self.recurrent(self.embedding(ids))
            return self.head(h[-1] if self.how == "state" else y[:, -1] if self.how == "last" else y)

    class Attention(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            z = self.norm(x)
            y, _ = self.attention(z, z, z, need_weights=False)
            return x + y

    options: Any = {"batch_first": True}
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", norm_first=True, **options)
    head = "Sequential(Embedding(6, 4, padding_idx=0), {}, Linear(3, 2))"
    return {
        "lstm": (Classifier(nn.LSTM(4, 3, **options), "last"), head.format("LSTM(4, 3)")),
        "lstm state": (Classifier(nn.LSTM(4, 3, **options), "cell"), head.format("LSTM(4, 3)")),
        "gru": (Classifier(nn.GRU(4, 3, **options), "state"), head.format("GRU(4, 3)")),
        "rnn": (
            Classifier(nn.RNN(4, 3, bias=False, **options), "all"),
            head.format("RNN(4, 3, return_sequences=True)"),
        ),
        "two layers": (
            Classifier(nn.GRU(4, 3, 2, **options), "last"),
            head.format("GRU(4, 3, return_sequences=True), GRU(3, 3)"),
        ),
        "two directions": (
            nn.LSTM(4, 3, 2, bidirectional=True, **options),
            "Sequential(Bidirectional(LSTM(4, 3, return_sequences=True)), "
            "Bidirectional(LSTM(6, 3, return_sequences=True)))",
        ),
        "attention": (
            Attention(),
            "Sequential(Residual(Sequential(LayerNorm(4), MultiHeadAttention(4, 2))))",
        ),
        "transformer": (
            nn.TransformerEncoder(layer, 2, nn.LayerNorm(4), enable_nested_tensor=False),
            "Sequential(TransformerBlock(4, 2, dim_feedforward=8), TransformerBlock(4, 2, dim_feedforward=8), "
            "LayerNorm(4))",
        ),
    }


NAMES = ["lstm", "lstm state", "gru", "rnn", "two layers", "two directions", "attention", "transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_modules_for_sequences_become_equal_networks(name: str, torch: ModuleType) -> None:
    torch.manual_seed(0)
    module, expected = modules(torch)[name]
    module.double()
    takes_ids = hasattr(module, "embedding")
    x: np.ndarray = IDS if takes_ids else X
    net = from_torch(module, x.shape[1:])
    assert repr(net) == expected
    y, pullback = net.vjp(x)
    output = module(torch.tensor(x))
    output = output[0] if isinstance(output, tuple) else output
    np.testing.assert_allclose(y, output.detach().numpy(), **TOLERANCE)
    dy = np.random.default_rng(1).normal(size=y.shape)
    net.zero_grad()
    pullback(dy)
    output.backward(torch.tensor(dy))
    expected_grads = gradients(torch, module, x.shape[1:])
    for parameter_name, parameter in net.named_parameters():
        if name != "rnn" or "bias_" not in parameter_name:  # the module has none
            np.testing.assert_allclose(
                parameter.grad, expected_grads[parameter_name], **TOLERANCE, err_msg=parameter_name
            )


def gradients(torch: ModuleType, module: Any, shape: Any) -> dict[str, np.ndarray]:
    """Return the gradients of a module by PortaNet's names: the weights of one whose parameters are its gradients."""
    holder = copy.deepcopy(module)
    with torch.no_grad():
        for parameter, other in zip(holder.parameters(), module.parameters(), strict=True):
            parameter.copy_(other.grad)
    return from_torch(holder, shape).get_weights()


def networks() -> list[tuple[pn.Layer, np.ndarray]]:
    recurrent = [
        kind(4, 3, return_sequences=all_states, go_backwards=backwards)
        for kind in (pn.RNN, pn.GRU, pn.LSTM)
        for all_states in (False, True)
        for backwards in (False, True)
    ]
    both = [pn.Bidirectional(pn.GRU(4, 3, return_sequences=all_states)) for all_states in (False, True)]
    blocks = [pn.TransformerBlock(4, 2, is_causal=is_causal) for is_causal in (False, True)]
    attention = [pn.MultiHeadAttention(4, 2, is_causal=True), pn.MultiHeadAttention(4, 1, bias=False)]
    text = pn.Sequential(
        *(pn.Embedding(6, 4, padding_idx=0), pn.PositionalEmbedding(9, 4), pn.PositionalEncoding(4)),
        *(pn.TransformerBlock(4, 2, is_causal=True), pn.LSTM(4, 3), pn.Linear(3, 2)),
    )
    return [*((layer, X) for layer in (*recurrent, *both, *blocks, *attention)), (text, IDS)]


@pytest.mark.parametrize(("net", "x"), networks(), ids=[repr(net) for net, _ in networks()])
def test_layers_for_sequences_become_equal_modules_and_come_back(
    net: pn.Layer, x: np.ndarray, torch: ModuleType
) -> None:
    net.initialize(seed=1, dtype="float64")
    module, given = to_torch(net, x.shape[1:]), x if x is IDS else np.moveaxis(x, -1, 1)
    y, pullback = net.vjp(x, train=False)
    dy = np.random.default_rng(1).normal(size=y.shape)
    net.zero_grad()
    pullback(dy)
    output = module(torch.tensor(given))
    np.testing.assert_allclose(y, np.moveaxis(output.detach().numpy(), 1, -1), **TOLERANCE)
    output.backward(torch.tensor(np.moveaxis(dy, -1, 1)))
    holder = copy.deepcopy(net)
    load_state_dict(holder, {name: p.grad for name, p in module.named_parameters()}, x.shape[1:])
    for (name, parameter), expected in zip(net.named_parameters(), holder.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad, expected.data, **TOLERANCE, err_msg=name)
    back = from_torch(module, given.shape[1:])
    np.testing.assert_allclose(back.predict(x), net.predict(x), rtol=1e-12)
    assert repr(back) == (repr(net) if isinstance(net, pn.Sequential) else f"Sequential({net!r})")


def test_state_dicts_of_sequences_are_loaded(torch: ModuleType) -> None:
    def text() -> pn.Sequential:
        return pn.Sequential(pn.Embedding(6, 4), pn.TransformerBlock(4, 2), pn.Bidirectional(pn.LSTM(4, 3)))

    net, other = text().initialize(seed=1), text().initialize(seed=2)
    load_state_dict(other, to_torch(net, (4,)).state_dict(), (4,))
    for (name, parameter), loaded in zip(net.named_parameters(), other.parameters(), strict=True):
        assert np.array_equal(parameter.data, loaded.data), name


def test_weights_of_sequences_have_pytorchs_own_names(torch: ModuleType) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Embedding(6, 4), nn.LayerNorm(4), nn.Linear(4, 3)).double()
    net = pn.Sequential(pn.Embedding(6, 4), pn.LayerNorm(4), pn.Linear(4, 3)).initialize(dtype="float64")
    load_state_dict(net, module.state_dict(), (4,))
    np.testing.assert_allclose(net.predict(IDS), module(torch.tensor(IDS)).detach().numpy(), **TOLERANCE)


def test_modules_for_sequences_without_a_layer_are_named(torch: ModuleType) -> None:
    nn, options = torch.nn, {"batch_first": True}

    class Own(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, function: Any):
            super().__init__()
            self.inner, self.function = inner, function

        def forward(self, x: Any) -> Any:
            return self.function(self.inner, x)

    embedding = nn.Embedding(6, 4, padding_idx=0)
    with torch.no_grad():
        embedding.weight[0] = 1.0
    gelu: Any = {"activation": "gelu", **options}
    both = nn.GRU(4, 3, bidirectional=True, **options)
    attention = nn.MultiheadAttention(4, 2, **options)
    refused: list[tuple[Any, str]] = [
        (nn.LSTM(4, 3), "its batch_first is False"),
        (nn.LSTM(4, 3, proj_size=2, **options), "its proj_size is not 0"),
        (nn.RNN(4, 3, nonlinearity="relu", **options), "its nonlinearity not 'tanh'"),
        (embedding, "its vector of padding_idx is not zero"),
        (nn.Embedding(6, 4, max_norm=1.0), "its max_norm is 1.0"),
        (nn.Embedding(6, 4, scale_grad_by_freq=True), "its scale_grad_by_freq is True"),
        (nn.TransformerEncoderLayer(4, 2, 8, **gelu), "its norm_first is False and its activation gelu"),
        (nn.TransformerEncoderLayer(4, 2, 8, norm_first=True, **options), "its activation relu, not True and gelu"),
        (nn.MultiheadAttention(4, 2), "its batch_first is False"),
        (nn.MultiheadAttention(4, 2, kdim=3, **options), "its kdim, vdim"),
        (Own(both, lambda inner, x: inner(x)[0][:, -1]), "it takes the last position of what is not one direction"),
        (Own(both, lambda inner, x: inner(x)[0][:, 0]), r"\(getitem\) .* neither all states nor the last one"),
        (Own(nn.GRU(4, 3, **options), lambda inner, x: inner(x)[1]), "neither all states nor the last one"),
        (Own(attention, lambda inner, x: inner(x, x, x, is_causal=True)[0]), "its argument 'is_causal'"),
        (Own(attention, lambda inner, x: inner(x, x, x, None)[0]), "its arguments are not all tensors"),
        (Own(attention, lambda inner, x: inner(x, torch.relu(x), x)[0]), "joins branches in this way"),
    ]
    for module, message in refused:
        with pytest.raises(ValueError, match=message):
            from_torch(module, (5,) if isinstance(module, nn.Embedding) else (5, 4))
