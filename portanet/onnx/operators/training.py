"""Dropout, and the optimizers of ONNX's domain for training."""

from typing import Any

import numpy as np

from portanet.onnx.operators.arrays import from_host, number
from portanet.onnx.operators.registry import operator
from portanet.typing import Array

TRAINING = "ai.onnx.preview.training"


@operator("Dropout")
def dropout(
    xp: Any,
    x: Array,
    ratio: Any = None,
    training_mode: Any = None,
    *,
    seed: int | None = None,
    is_test: int = 1,
) -> tuple[Array, Array]:
    """Return x and a mask of ones; in training, replace each number by 0 with a probability, and scale the others."""
    p = number(ratio, 0.5)
    if not number(training_mode, 0) or p == 0:
        return x, xp.full(x.shape, True, device=x.device)
    # As ONNX's own evaluator does, so that equal seeds give equal masks.
    mask = from_host(np.random.RandomState(seed).uniform(size=tuple(x.shape)) >= p, x)
    return xp.where(mask, x / (1 - p), 0.0), mask


def _groups(tensors: tuple[Array, ...], n: int) -> list[tuple[Array, ...]]:
    """Group the inputs of an optimizer by parameter: all values come first, then all gradients, and so on."""
    count = len(tensors) // n
    return [tensors[i::count] for i in range(count)]


def _in_order(results: list[tuple[Array, ...]]) -> tuple[Array, ...]:
    return tuple(array for kind in zip(*results, strict=True) for array in kind)


@operator("Adagrad", domain=TRAINING)
def adagrad(
    xp: Any,
    lr: Array,
    step: Array,
    *tensors: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Array, ...]:
    """Return new parameters, and sums of squared gradients."""
    rate, results = lr / (1 + number(step, 0) * decay_factor), []
    for x, gradient, squares in _groups(tensors, 3):
        g = gradient + norm_coefficient * x
        new = squares + g * g
        results.append((x - rate * g / (xp.sqrt(new) + epsilon), new))
    return _in_order(results)


@operator("Momentum", domain=TRAINING)
def momentum(
    xp: Any,
    lr: Array,
    step: Array,
    *tensors: Array,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[Array, ...]:
    """Return new parameters, and moving averages of the gradients."""
    share, results = beta if number(step, 0) > 0 else 1.0, []
    for x, gradient, velocity in _groups(tensors, 3):
        g = gradient + norm_coefficient * x
        new = alpha * velocity + share * g
        results.append((x - lr * (g + alpha * new if mode == "nesterov" else new), new))
    return _in_order(results)


@operator("Adam", domain=TRAINING)
def adam(
    xp: Any,
    lr: Array,
    step: Array,
    *tensors: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Array, ...]:
    """Return new parameters, and moving averages of the gradients and of their squares."""
    t, results = number(step, 0), []
    rate = lr * ((1 - beta**t) ** 0.5 / (1 - alpha**t)) if t > 0 else lr
    for x, gradient, mean, square in _groups(tensors, 4):
        g = gradient + norm_coefficient * x
        new_mean = alpha * mean + (1 - alpha) * g
        new_square = beta * square + (1 - beta) * g * g
        new = x - rate * new_mean / (xp.sqrt(new_square) + epsilon)
        results.append(((1 - norm_coefficient_post) * new, new_mean, new_square))
    return _in_order(results)
