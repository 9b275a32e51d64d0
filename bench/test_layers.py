"""Single layers, losses and optimizers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

import portanet as pn

pytestmark = pytest.mark.benchmark(warmup=True)

BATCH = 64


@dataclass(frozen=True)
class Family:
    """A layer type, and the sizes of the last axis to time."""

    make: Callable[[int], pn.Layer]
    spatial_shape: tuple[int, ...] = ()
    sizes: tuple[int, ...] = (8, 32, 128)


LAYERS: dict[str, Family] = {
    "Linear": Family(lambda n: pn.Linear(n, n), sizes=(32, 256, 1024)),
    "Conv1D": Family(lambda n: pn.Conv1D(n, n, 3), (128,)),
    "Conv2D": Family(lambda n: pn.Conv2D(n, n, 3, padding="same"), (14, 14), (1, 16, 64)),
    "MaxPool1D": Family(lambda n: pn.MaxPool1D(2), (128,)),
    "MaxPool2D": Family(lambda n: pn.MaxPool2D(2), (14, 14)),
    "AvgPool1D": Family(lambda n: pn.AvgPool1D(2), (128,)),
    "AvgPool2D": Family(lambda n: pn.AvgPool2D(2), (14, 14)),
    "BatchNorm": Family(pn.BatchNorm, (14, 14)),
    "LayerNorm": Family(pn.LayerNorm, sizes=(32, 256, 1024)),
    "ReLU": Family(lambda n: pn.ReLU(), sizes=(256, 4096)),
    "Sigmoid": Family(lambda n: pn.Sigmoid(), sizes=(256, 4096)),
    "TanH": Family(lambda n: pn.TanH(), sizes=(256, 4096)),
    "Dropout": Family(lambda n: pn.Dropout(0.5), sizes=(256, 4096)),
}

LOSSES: dict[str, Callable[[], pn.Loss]] = {
    "MSELoss": pn.MSELoss,
    "BCELoss": pn.BCELoss,
    "BCEWithLogitsLoss": pn.BCEWithLogitsLoss,
    "CrossEntropyLoss": pn.CrossEntropyLoss,
}

OPTIMIZERS: dict[str, Callable[[], pn.Optimizer]] = {
    "SGD": pn.SGD,
    "SGD-momentum": partial(pn.SGD, momentum=0.9),
    "RMSprop": pn.RMSprop,
    "Adam": pn.Adam,
    "AdamW": pn.AdamW,
    "Adagrad": pn.Adagrad,
}

by_size = pytest.mark.parametrize(
    ("layer", "size"), [(name, size) for name, family in LAYERS.items() for size in family.sizes]
)


def layer_and_input(layer: str, size: int, device: str) -> tuple[pn.Layer, Any]:
    """Return an initialized layer on a device, and an input for it."""
    family, rng = LAYERS[layer], np.random.default_rng(0)
    module = family.make(size).initialize(device=device)
    return module, module.asarray(rng.random((BATCH, *family.spatial_shape, size), "float32"))


@by_size
def test_forward(timed: Callable[..., None], layer: str, size: int, device: str) -> None:
    module, x = layer_and_input(layer, size, device)
    timed(lambda: module.forward(x))


@by_size
def test_forward_and_back(timed: Callable[..., None], layer: str, size: int, device: str) -> None:
    module, x = layer_and_input(layer, size, device)
    dy = module.forward(x)

    def forward_and_backward() -> None:
        _, pullback = module.vjp(x)
        pullback(dy)

    timed(forward_and_backward)


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss(timed: Callable[..., None], loss: str, size: int, device: str) -> None:
    backend, function = pn.get_backend(device), LOSSES[loss]()
    prediction, target = (
        backend.asarray(values) for values in np.random.default_rng(0).random((2, BATCH, size), "float32")
    )

    def value_and_gradient() -> None:
        _, pullback = function.vjp(prediction, target)
        pullback()

    timed(value_and_gradient)


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer(timed: Callable[..., None], optimizer: str, size: int, device: str) -> None:
    net = pn.Linear(1, size, bias=False).initialize(device=device)
    net.flat.grad[...] = net.flat.data
    timed(OPTIMIZERS[optimizer]().bind(net).step)
