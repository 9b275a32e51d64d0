"""
JAX: the whole training step in one ``jit``, channels-last as in PortaNet.

The number of XLA threads is the number of cores that the process may use; environment variables do not change it.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from bench.peers import Unsupported
from bench.recipe import Config, Recipe

Weights = list[Any]
TINY = 1e-12
"""Lower limit of probabilities, so that their logarithm is finite."""


def set_precision(precision: str) -> None:
    """Set the precision of products and convolutions on a GPU."""
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "highest")


def step(recipe: Recipe, device: str) -> Callable[[], Any]:
    """Return a training step on one batch."""
    _check_device(device)
    _check_layers(recipe)
    examples = recipe.examples(recipe.batch_size)
    x, target = jnp.asarray(examples), jnp.asarray(recipe.targets(examples))
    init, update = OPTIMIZERS[_supported_type(recipe.optimizer, OPTIMIZERS)](recipe.optimizer)
    loss = LOSSES[_supported_type(recipe.loss, LOSSES)]

    @jax.jit
    def train_step(state: Any) -> Any:
        weights, moments, key = state
        key, mask_key = jax.random.split(key)
        value, grads = jax.value_and_grad(lambda w: loss(apply(recipe, w, x, mask_key), target))(weights)
        return (*update(weights, grads, moments), key), value

    weights = init_weights(recipe)
    state = (weights, init(weights), jax.random.key(1))

    def run() -> Any:
        nonlocal state
        state, value = train_step(state)
        jax.block_until_ready((state, value))
        return value

    return run


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], Any]:
    """Return a function that computes the outputs for one batch."""
    _check_device(device)
    _check_layers(recipe)
    weights, x = init_weights(recipe), jnp.asarray(recipe.examples(batch_size))
    outputs = jax.jit(lambda w, x: apply(recipe, w, x, None))
    return lambda: outputs(weights, x).block_until_ready()


def init_weights(recipe: Recipe) -> Weights:
    """Draw initial weights: for each layer a pair (weight, bias), or an empty tuple."""
    weights: Weights = []
    for i, config in enumerate(recipe.layers):
        if config["type"] == "Linear":
            shape: tuple[int, ...] = (config["in_features"], config["out_features"])
        elif config["type"] in ("Conv1D", "Conv2D"):
            shape = (*_per_axis(config, "kernel_size"), config["in_channels"], config["out_channels"])
        else:
            weights.append(())
            continue
        initializer = jax.nn.initializers.glorot_uniform()
        weights.append((initializer(jax.random.key(i), shape), jnp.zeros(shape[-1])))
    return weights


def apply(recipe: Recipe, weights: Weights, x: Any, key: Any) -> Any:
    """Return the outputs of the network; without a key, dropout is off."""
    for config, pair in zip(recipe.layers, weights, strict=True):
        x = LAYERS[_supported_type(config, LAYERS)](config, pair, x, key)
    return x


def _supported_type(config: Config, table: dict[str, Any]) -> str:
    if config["type"] not in table:
        raise Unsupported(f"{config['type']} is not translated")
    return str(config["type"])


def _check_layers(recipe: Recipe) -> None:
    for config in recipe.layers:
        _supported_type(config, LAYERS)


def _check_device(device: str) -> None:
    if device == "cuda" and jax.default_backend() != "gpu":
        raise Unsupported("JAX finds no CUDA device")


def _per_axis(config: Config, name: str) -> tuple[int, ...]:
    value = config[name]
    return (value,) * int(config["type"][-2]) if isinstance(value, int) else tuple(value)


def _linear(config: Config, pair: Any, x: Any, key: Any) -> Any:
    weight, bias = pair
    return x @ weight + bias


def _conv(config: Config, pair: Any, x: Any, key: Any) -> Any:
    weight, bias = pair
    names = ("NWC", "WIO", "NWC") if x.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    strides = _per_axis(config, "stride")
    y = lax.conv_general_dilated(x, weight, strides, config["padding"].upper(), dimension_numbers=names)
    return y + bias


def _pool(config: Config, x: Any, init: float, reduce: Any) -> Any:
    window = (1, *_per_axis(config, "kernel_size"), 1)
    strides = window if config["stride"] is None else (1, *_per_axis(config, "stride"), 1)
    return lax.reduce_window(x, init, reduce, window, strides, config["padding"].upper())


def _max_pool(config: Config, pair: Any, x: Any, key: Any) -> Any:
    return _pool(config, x, -jnp.inf, lax.max)


def _avg_pool(config: Config, pair: Any, x: Any, key: Any) -> Any:
    size = _per_axis(config, "kernel_size")
    return _pool(config, x, 0.0, lax.add) / math.prod(size)


def _dropout(config: Config, pair: Any, x: Any, key: Any) -> Any:
    if key is None:
        return x
    keep = 1 - config["p"]
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0.0)


LAYERS: dict[str, Callable[[Config, Any, Any, Any], Any]] = {
    "Linear": _linear,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "MaxPool1D": _max_pool,
    "MaxPool2D": _max_pool,
    "AvgPool1D": _avg_pool,
    "AvgPool2D": _avg_pool,
    "Dropout": _dropout,
    "ReLU": lambda config, pair, x, key: jax.nn.relu(x),
    "Sigmoid": lambda config, pair, x, key: jax.nn.sigmoid(x),
    "TanH": lambda config, pair, x, key: jnp.tanh(x),
    "Softmax": lambda config, pair, x, key: jax.nn.softmax(x),
    "Flatten": lambda config, pair, x, key: x.reshape(len(x), -1),
}

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "MSELoss": lambda p, t: jnp.mean((p - t) ** 2),
    "BCELoss": lambda p, t: -jnp.mean(t * jnp.log(jnp.maximum(p, TINY)) + (1 - t) * jnp.log(jnp.maximum(1 - p, TINY))),
    "CrossEntropyLoss": lambda z, t: -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(t)), t]),
    "course.CrossEntropy": lambda p, t: -jnp.mean(jnp.log(p[jnp.arange(len(t)), t])),
}


def _sgd(config: Config) -> tuple[Any, Any]:
    def update(weights: Weights, grads: Weights, moments: Any) -> Any:
        return jax.tree.map(lambda w, g: w - config["lr"] * g, weights, grads), moments

    return lambda weights: (), update


def _rmsprop(config: Config) -> tuple[Any, Any]:
    alpha, lr, eps = config["alpha"], config["lr"], config["eps"]

    def update(weights: Weights, grads: Weights, square: Any) -> Any:
        square = jax.tree.map(lambda s, g: alpha * s + (1 - alpha) * g * g, square, grads)
        new = jax.tree.map(lambda w, g, s: w - lr * g / (jnp.sqrt(s) + eps), weights, grads, square)
        return new, square

    return lambda weights: jax.tree.map(jnp.zeros_like, weights), update


def _adam(config: Config) -> tuple[Any, Any]:
    (b1, b2), lr, eps = config["betas"], config["lr"], config["eps"]

    def update(weights: Weights, grads: Weights, moments: Any) -> Any:
        mean, square, t = moments
        t = t + 1
        mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, mean, grads)
        square = jax.tree.map(lambda s, g: b2 * s + (1 - b2) * g * g, square, grads)
        rate, scale = lr / (1 - b1**t), 1 / (1 - b2**t)
        new = jax.tree.map(lambda w, m, s: w - rate * m / (jnp.sqrt(s * scale) + eps), weights, mean, square)
        return new, (mean, square, t)

    def init(weights: Weights) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, weights)
        return zeros, zeros, jnp.zeros(())

    return init, update


OPTIMIZERS: dict[str, Callable[[Config], tuple[Any, Any]]] = {"SGD": _sgd, "RMSprop": _rmsprop, "Adam": _adam}
