"""Activations and their derivatives."""

import numpy as np

from experiments.runner import Figures, Run, experiment
from portanet import Layer, LeakyReLU, ReLU, Sigmoid, Softmax, TanH, plots
from portanet.testing import central_difference

LAYERS = {
    "TanH": TanH(),
    "Sigmoid": Sigmoid(),
    "Softmax": Softmax(),
    "ReLU": ReLU(),
    "LeakyReLU 0.1": LeakyReLU(0.1),
}


@experiment(
    "001-activations",
    source="001, section 2.2.2",
    data="numbers from -4 to 4; for softmax, two zeros are added",
    what="TanH, Sigmoid, Softmax, ReLU and LeakyReLU: value and derivative (slope)",
    choices=(
        "The slope is the result of a layer's pullback for an output gradient of 1; its error is the distance from "
        "central differences."
    ),
    remark=(
        "The source's gradient of softmax is δᵢ sᵢ (1 - sᵢ): the derivative of each output with respect to its own "
        "input, without those with respect to the others. The last figure is the error of this formula if all outputs "
        "have gradients; the full gradient is sᵢ (δᵢ - Σⱼ δⱼ sⱼ). The source's slope of ReLU for negative inputs, "
        "alpha, belongs to a leaky ReLU, not to max(0, x)."
    ),
    reported={},
)
def activations(run: Run) -> Figures:
    inputs = np.zeros((200, 3))
    inputs[:, 0] = np.linspace(-4, 4, len(inputs))
    first = np.zeros_like(inputs)
    first[:, 0] = 1
    curves = {name: value_and_gradient(run, layer, inputs, first) for name, layer in LAYERS.items()}
    panels = {
        "value": {name: value[:, 0] for name, (value, _) in curves.items()},
        "slope": {name: gradient[:, 0] for name, (_, gradient) in curves.items()},
    }
    run.picture("curves", plots.curves(inputs[:, 0], panels, xlabel="x", title=run.id))
    figures = {
        f"error of the slope, {name}": np.abs(gradient - difference_gradient(run, LAYERS[name], inputs, first)).max()
        for name, (_, gradient) in curves.items()
    }
    dy = np.random.default_rng(run.seed).normal(size=inputs.shape)
    s, gradient = value_and_gradient(run, LAYERS["Softmax"], inputs, dy)
    expected = difference_gradient(run, LAYERS["Softmax"], inputs, dy)
    return {
        **figures,
        "error of the gradient, Softmax": np.abs(gradient - expected).max(),
        "error of the source's gradient, Softmax": np.abs(dy * s * (1 - s) - expected).max(),
    }


def value_and_gradient(run: Run, layer: Layer, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's output for x, and the result of its pullback for dy."""
    y, pullback = layer.vjp(run.backend.asarray(x))
    return run.backend.to_numpy(y), run.backend.to_numpy(pullback(run.backend.asarray(dy)))


def difference_gradient(run: Run, layer: Layer, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the same gradient by central differences."""
    return central_difference(lambda z: float(np.sum(dy * run.backend.to_numpy(layer(run.backend.asarray(z))))), x)
