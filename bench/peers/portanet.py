"""PortaNet itself, through its public interface, its steps recorded where the device can."""

from collections.abc import Callable
from typing import Any

from bench.recipe import Config, Recipe
from bench.recorded import training_step
from portanet import Sequential, Trainer
from portanet.config import from_json


def step(recipe: Recipe, device: str) -> Callable[[], Any]:
    """A training step on one batch."""
    trainer = Trainer(_net(recipe), _make(recipe.loss), _make(recipe.optimizer), device=device)
    examples = recipe.examples(recipe.batch_size)
    x, target = trainer.net.asarray(examples), trainer.net.asarray(recipe.targets(examples))
    take, synchronize = training_step(trainer, x, target), trainer.backend.synchronize

    def run() -> Any:
        loss = take()
        synchronize()
        return loss

    return run


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], Any]:
    """Outputs for one batch."""
    net = _net(recipe).initialize(device=device)
    x, synchronize = net.asarray(recipe.examples(batch_size)), net.flat.backend.synchronize

    def run() -> Any:
        y = net(x)
        synchronize()
        return y

    return run


def _net(recipe: Recipe) -> Sequential:
    return Sequential(*map(_make, recipe.layers))


def _make(config: Config) -> Any:
    return from_json({**config, "type": f"portanet.{config['type']}"})
