"""The PyTorch networks compute the same outputs, losses and training steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.networks import NETWORKS
from bench.peers import Unsupported
from bench.recipe import Recipe
from portanet import (
    BatchNorm,
    ConvTranspose2D,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    PositionalEmbedding,
    Residual,
    Sequential,
    Trainer,
    TransformerBlock,
)
from portanet.layers.conv import Conv
from portanet.layers.recurrent import Recurrent

torch = pytest.importorskip("torch", reason="tests the competitor PyTorch")
pytestmark = pytest.mark.torch

from bench.peers import torch as peer  # noqa: E402 (it imports PyTorch)

# Together: each layer except dropout, each loss, each optimizer, and Flatten after 1-D and 2-D convolutions
IDS = (
    *("000-toy-softmax", "000-conv1d-avg", "001-ae-usps", "001-conv1d-net3", "001-conv2d-net3", "003-lenet", "004-cnn"),
    *("mobile-net", "strided-ae", "res-net", "gru", "lstm", "transformer"),
)
BATCH = 4


def copy_weights(net: Layer, recipe: Recipe, twin: Any) -> None:
    """Copy PortaNet's weights to PyTorch, and transpose them to its order of axes."""
    assert isinstance(net, Sequential)
    shapes = [recipe.input_shape, *recipe.shapes]
    for i, (config, layer) in enumerate(zip(recipe.layers, net, strict=True)):
        flattened = config["type"] == "Linear" and i > 0 and recipe.layers[i - 1]["type"] == "Flatten"
        copy_layer(layer, twin[i], shapes[i - 1] if flattened else None)


def copy_layer(layer: Layer, twin: Any, flattened: tuple[int, ...] | None = None) -> None:
    """Copy the weights of one layer, which may be the first after Flatten, or of its inner layers."""
    if isinstance(layer, Residual):
        copy_layer(layer.branch, twin.branch)
        if layer.projection is not None:
            copy_layer(layer.projection, twin.projection)
    elif isinstance(layer, Sequential):
        for inner, other in zip(layer, twin, strict=True):
            copy_layer(inner, other)
    elif isinstance(layer, TransformerBlock):
        copy_block(layer, twin)
    elif isinstance(layer, Embedding | LayerNorm | PositionalEmbedding | Recurrent):
        for name, parameter in layer.named_parameters():
            other = getattr(twin.layer, f"{name}_l0") if isinstance(layer, Recurrent) else getattr(twin, name)
            copy_array(parameter.data.T if isinstance(layer, Recurrent) else parameter.data, other)
    for name, parameter in layer.named_parameters() if isinstance(layer, Linear | Conv | BatchNorm) else ():
        weight = parameter.data
        if flattened and weight.ndim == 2:
            weight = np.moveaxis(weight.reshape(*flattened, -1), -2, 0).reshape(weight.shape)
        if (
            weight.ndim > 1
        ):  # (*kernel, in, out) to (out, in, *kernel); of a transposed convolution to (in, out, *kernel)
            ends = (-2, -1) if isinstance(layer, ConvTranspose2D) else (-1, -2)
            weight = weight.transpose(*ends, *range(weight.ndim - 2))
        copy_array(weight, getattr(twin, name))


def copy_block(layer: Any, twin: Any) -> None:
    """Copy the weights of a transformer block, with those of queries, keys and values in one matrix."""
    norm1, attention, _ = layer.attention.branch
    norm2, first, _, _, second, _ = layer.feed_forward.branch
    projections = attention.q_proj, attention.k_proj, attention.v_proj
    copy_array(np.concatenate([p.weight.data.T for p in projections]), twin.in_proj.weight)
    copy_array(np.concatenate([p.bias.data for p in projections]), twin.in_proj.bias)
    pairs = (norm1, twin.norm1), (norm2, twin.norm2), (attention.out_proj, twin.out_proj)
    for inner, other in (*pairs, (first, twin.feed_forward[0]), (second, twin.feed_forward[2])):
        copy_layer(inner, other)


def copy_array(values: np.ndarray, parameter: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(np.ascontiguousarray(values)))


@pytest.mark.parametrize("id", IDS)
def test_outputs_and_steps_are_the_same(id: str) -> None:
    network = NETWORKS[id]
    recipe = replace(network.recipe(), batch_size=BATCH)
    trainer, twin = Trainer(network.build(), network.loss(), network.optimizer()), peer.make_net(recipe)
    copy_weights(trainer.net, recipe, twin)
    x = recipe.examples(BATCH)
    target, xs = recipe.targets(x), peer.inputs(recipe, BATCH)
    outputs = twin.eval()(xs).detach()
    outputs = (outputs if recipe.n_ids else outputs.movedim(1, -1)).numpy()
    np.testing.assert_allclose(outputs, trainer.net(x), rtol=1e-4, atol=1e-6 * max(1.0, np.abs(outputs).max()))
    twin.train()

    optimizer, loss = peer.make_optimizer(recipe.optimizer, twin, fused=True), peer.make_loss(recipe.loss)
    twin_target = xs if recipe.target == "input" else torch.as_tensor(target)
    for _ in range(3):
        value: Any = loss(twin(xs), twin_target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        np.testing.assert_allclose(value.item(), float(trainer.step(x, target)), rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"fused": True, "channels_last": True}], ids=str)
def test_variants_train_and_infer(options: dict[str, Any]) -> None:
    recipe = replace(NETWORKS["004-cnn"].recipe(), batch_size=BATCH)
    step = peer.step(recipe, "cpu", **options)
    assert step().item() > step().item() > 0
    if options.keys() != {"fused"}:
        assert peer.inference(recipe, "cpu", 2, **options)().shape == (2, 10)


def test_dropout_has_the_same_probability() -> None:
    recipe = NETWORKS["004-mlp-500"].recipe()
    assert [layer.p for layer in peer.make_net(recipe) if isinstance(layer, torch.nn.Dropout)] == [0.7]


def test_unsupported_networks_raise() -> None:
    recipe = NETWORKS["003-mlp"].recipe()
    with pytest.raises(Unsupported, match="channels_last is for images"):
        peer.step(recipe, "cpu", channels_last=True)
    with pytest.raises(Unsupported, match="Wavelet is not translated"):
        peer.make_net(replace(recipe, layers=({"type": "Wavelet"},)))
