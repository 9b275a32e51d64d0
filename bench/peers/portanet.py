"""PortaNet, through its public interface; steps are recorded on devices that support it."""

from collections.abc import Callable
from typing import Any

from bench.recipe import Config, Recipe
from bench.recorded import training_step
from portanet import Sequential, Trainer, set_float32_matmul_precision
from portanet.config import from_json


def set_precision(precision: Any) -> None:
    """Set the precision of products on a GPU."""
    set_float32_matmul_precision(precision)


def step(recipe: Recipe, device: str) -> Callable[[], Any]:
    """Return a training step on one batch."""
    trainer = Trainer(_net(recipe), _build(recipe.loss), _build(recipe.optimizer), device=device)
    examples = recipe.examples(recipe.batch_size)
    x, target = trainer.net.asarray(examples), trainer.net.asarray(recipe.targets(examples))
    train_step, synchronize = training_step(trainer, x, target), trainer.backend.synchronize

    def run() -> Any:
        loss = train_step()
        synchronize()
        return loss

    return run


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], Any]:
    """Return a function that computes the outputs for one batch."""
    net = _net(recipe).initialize(device=device)
    x, synchronize = net.asarray(recipe.examples(batch_size)), net.flat.backend.synchronize

    def run() -> Any:
        y = net(x)
        synchronize()
        return y

    return run


def _net(recipe: Recipe) -> Sequential:
    return Sequential(*map(_build, recipe.layers))


def _build(config: Config) -> Any:
    return from_json({**config, "type": f"portanet.{config['type']}"})
