"""The curves of activations, and their slopes."""

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
    data="numbers from -4 to 4; softmax sees them beside two zeros",
    what="TanH, Sigmoid, Softmax, ReLU with and without leak: value and slope",
    choices="A slope is what a layer's pullback makes of 1; its error is the distance from central differences.",
    remark=(
        "The source's gradient of softmax is δᵢ sᵢ (1 - sᵢ): the part of each output in its own input, without its "
        "part in the others. The last row is the error that this makes where all outputs have gradients; the whole is "
        "sᵢ (δᵢ - Σⱼ δⱼ sⱼ). Its slope of ReLU for negative inputs, alpha, belongs to a leaky ReLU, not to max(0, x)."
    ),
    reported={},
)
def activations(run: Run) -> Figures:
    places = np.zeros((200, 3))
    places[:, 0] = np.linspace(-4, 4, len(places))
    first = np.zeros_like(places)
    first[:, 0] = 1
    curves = {name: value_and_gradient(run, layer, places, first) for name, layer in LAYERS.items()}
    panels = {
        "value": {name: value[:, 0] for name, (value, _) in curves.items()},
        "slope": {name: gradient[:, 0] for name, (_, gradient) in curves.items()},
    }
    run.picture("curves", plots.curves(places[:, 0], panels, xlabel="x", title=run.id))
    figures = {
        f"error of the slope, {name}": np.abs(gradient - differences(run, LAYERS[name], places, first)).max()
        for name, (_, gradient) in curves.items()
    }
    every = np.random.default_rng(run.seed).normal(size=places.shape)
    s, gradient = value_and_gradient(run, LAYERS["Softmax"], places, every)
    right = differences(run, LAYERS["Softmax"], places, every)
    return {
        **figures,
        "error of the gradient, Softmax": np.abs(gradient - right).max(),
        "error of the source's gradient, Softmax": np.abs(every * s * (1 - s) - right).max(),
    }


def value_and_gradient(run: Run, layer: Layer, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a layer makes of x, and what its pullback makes of dy."""
    y, pullback = layer.vjp(run.backend.asarray(x))
    return run.backend.to_numpy(y), run.backend.to_numpy(pullback(run.backend.asarray(dy)))


def differences(run: Run, layer: Layer, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The same gradient by central differences."""
    return central_difference(lambda z: float(np.sum(dy * run.backend.to_numpy(layer(run.backend.asarray(z))))), x)
