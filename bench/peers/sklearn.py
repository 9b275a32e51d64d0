"""
scikit-learn's MLPClassifier and MLPRegressor, one ``partial_fit`` per batch.

They have no convolution, dropout or RMSprop, and MLPRegressor has no output activation and no cross-entropy. The
nearest substitutes are used: Adam for RMSprop, no dropout, and a linear output with half the squared error. A user of
scikit-learn would get the same for a network of this size.
"""

from collections.abc import Callable
from typing import Any

from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.peers import Unsupported
from bench.recipe import Recipe

ACTIVATIONS = {"TanH": "tanh", "Sigmoid": "logistic", "ReLU": "relu"}


def step(recipe: Recipe, device: str) -> Callable[[], float]:
    """Return a ``partial_fit`` of one batch."""
    model, x, target = _fitted_model(recipe)

    def run() -> float:
        model.partial_fit(x, target)
        return float(model.loss_)

    return run


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], Any]:
    """Return a function that computes the outputs for one batch: class probabilities, or values."""
    model, _, _ = _fitted_model(recipe)
    x = recipe.examples(batch_size)
    outputs = model.predict_proba if recipe.target == "labels" else model.predict
    return lambda: outputs(x)


def _fitted_model(recipe: Recipe) -> tuple[Any, Any, Any]:
    """Return a model that is fitted to one batch, the batch, and its target."""
    model, x = _model(recipe), recipe.examples(recipe.batch_size)
    target = recipe.targets(x)
    if recipe.target == "labels":
        return model.partial_fit(x, target, classes=range(recipe.output_shape[-1])), x, target
    target = target.ravel() if target.shape[1] == 1 else target
    return model.partial_fit(x, target), x, target


def _model(recipe: Recipe) -> Any:
    kinds = [config["type"] for config in recipe.layers]
    if "Linear" not in kinds or not set(kinds) <= {"Linear", "Dropout", *ACTIVATIONS}:
        raise Unsupported("scikit-learn has no such layers")
    *hidden, last = (i for i, kind in enumerate(kinds) if kind == "Linear")
    output_activations = {"TanH", "Sigmoid"} if recipe.target != "labels" else set()
    if not set(kinds[last + 1 :]) <= output_activations:
        raise Unsupported("scikit-learn has no such layers")
    activations = {kinds[i + 1] for i in hidden}
    if len(activations) > 1 or not activations <= ACTIVATIONS.keys() | {"Linear"}:
        raise Unsupported("scikit-learn has one activation for all hidden layers")
    kind = MLPClassifier if recipe.target == "labels" else MLPRegressor
    return kind(
        hidden_layer_sizes=[recipe.layers[i]["out_features"] for i in hidden],
        activation=ACTIVATIONS.get(next(iter(activations), ""), "identity"),
        solver="sgd" if recipe.optimizer["type"] == "SGD" else "adam",
        learning_rate_init=recipe.optimizer["lr"],
        momentum=0.0,
        alpha=0.0,
        batch_size=recipe.batch_size,
        shuffle=False,
        random_state=0,
    )
