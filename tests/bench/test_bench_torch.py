"""The PyTorch networks compute the same outputs, losses and training steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.networks import NETWORKS
from bench.peers import Unsupported
from bench.recipe import Recipe
from portanet import Layer, Linear, Sequential, Trainer
from portanet.layers.conv import Conv

torch = pytest.importorskip("torch", reason="tests the competitor PyTorch")
pytestmark = pytest.mark.torch

from bench.peers import torch as peer  # noqa: E402 (it imports PyTorch)

# Together: each layer except dropout, each loss, each optimizer, and Flatten after 1-D and 2-D convolutions
IDS = ("000-toy-softmax", "000-conv1d-avg", "001-ae-usps", "001-conv1d-net3", "001-conv2d-net3", "003-lenet", "004-cnn")
BATCH = 4


def copy_weights(net: Layer, recipe: Recipe, twin: Any) -> None:
    """Copy PortaNet's weights to PyTorch, and transpose them to its order of axes."""
    assert isinstance(net, Sequential)
    shapes = [recipe.input_shape, *recipe.shapes]
    for i, (config, layer) in enumerate(zip(recipe.layers, net, strict=True)):
        if not layer.parameters():
            continue
        assert isinstance(layer, Linear | Conv)
        assert layer.bias is not None
        weight = layer.weight.data
        if config["type"] == "Linear" and recipe.layers[i - 1]["type"] == "Flatten" and i > 0:
            weight = np.moveaxis(weight.reshape(*shapes[i - 1], -1), -2, 0).reshape(weight.shape)
        order = (-1, -2, *range(weight.ndim - 2))  # (*kernel, in, out) to (out, in, *kernel)
        with torch.no_grad():
            twin[i].weight.copy_(torch.as_tensor(np.ascontiguousarray(weight.transpose(order))))
            twin[i].bias.copy_(torch.as_tensor(layer.bias.data))


@pytest.mark.parametrize("id", IDS)
def test_outputs_and_steps_are_the_same(id: str) -> None:
    network = NETWORKS[id]
    recipe = replace(network.recipe(), batch_size=BATCH)
    trainer, twin = Trainer(network.build(), network.loss(), network.optimizer()), peer.make_net(recipe)
    copy_weights(trainer.net, recipe, twin)
    x = recipe.examples(BATCH)
    target, xs = recipe.targets(x), peer.channels_first(x)
    np.testing.assert_allclose(twin(xs).detach().numpy(), trainer.net(x), rtol=1e-4, atol=1e-6)

    optimizer, loss = peer.make_optimizer(recipe.optimizer, twin, fused=True), peer.make_loss(recipe.loss)
    for _ in range(3):
        value: Any = loss(twin(xs), torch.as_tensor(target))
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
