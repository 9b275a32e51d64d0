"""Training steps of whole networks."""

from collections.abc import Callable
from typing import Any

import pytest

import portanet as pn
from bench.networks import NETWORKS, Network, dense
from bench.recorded import training_step

pytestmark = pytest.mark.benchmark(warmup=True)


def step(network: Network, device: str) -> Callable[[], Any]:
    """Return a training step on one batch."""
    recipe = network.recipe()
    trainer = pn.Trainer(network.build(), network.loss(), network.optimizer(), device=device)
    examples = recipe.examples(network.batch_size)
    x, target = trainer.net.asarray(examples), trainer.net.asarray(recipe.targets(examples))
    return training_step(trainer, x, target)


@pytest.mark.parametrize("network", NETWORKS)
def test_network_step(timed: Callable[..., None], network: str, device: str) -> None:
    timed(step(NETWORKS[network], device))


@pytest.mark.parametrize("batch", [1, 16, 128, 1024])
@pytest.mark.parametrize("width", [16, 64, 256, 1024])
def test_dense_step(timed: Callable[..., None], width: int, batch: int, device: str) -> None:
    """For `python -m bench compare`: the batch size from which a GPU is faster, for each width."""
    network = Network(
        id="dense",
        layers=lambda: dense(width, width, width, 10, hidden=pn.ReLU),
        loss=pn.CrossEntropyLoss,
        optimizer=pn.SGD,
        batch_size=batch,
        input_shape=(width,),
    )
    timed(step(network, device))
