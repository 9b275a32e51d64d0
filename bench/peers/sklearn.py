"""
scikit-learn's MLPClassifier and MLPRegressor, one ``partial_fit`` a batch.

They have no convolution, no dropout, no RMSprop and, for regression, no activation at the end and no cross-entropy: the
nearest is taken (Adam for RMSprop, no dropout, a linear end under half the squared error), so that what is compared is
what a user of scikit-learn gets for a network of this size.
"""

from collections.abc import Callable
from typing import Any

from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.peers import Unfit
from bench.recipe import Recipe

ACTIVATIONS = {"TanH": "tanh", "Sigmoid": "logistic", "ReLU": "relu"}


def step(recipe: Recipe, device: str) -> Callable[[], float]:
    """One ``partial_fit`` of one batch."""
    model, x, target = _begun(recipe)

    def run() -> float:
        model.partial_fit(x, target)
        return float(model.loss_)

    return run


def inference(recipe: Recipe, device: str, batch_size: int) -> Callable[[], Any]:
    """Outputs for one batch: probabilities of classes, or values."""
    model, _, _ = _begun(recipe)
    x = recipe.examples(batch_size)
    outputs = model.predict_proba if recipe.target == "labels" else model.predict
    return lambda: outputs(x)


def _begun(recipe: Recipe) -> tuple[Any, Any, Any]:
    """A model that has seen its first batch, and this batch."""
    model, x = _model(recipe), recipe.examples(recipe.batch_size)
    target = recipe.targets(x)
    if recipe.target == "labels":
        return model.partial_fit(x, target, classes=range(recipe.output_shape[-1])), x, target
    target = target.ravel() if target.shape[1] == 1 else target
    return model.partial_fit(x, target), x, target


def _model(recipe: Recipe) -> Any:
    kinds = [config["type"] for config in recipe.layers]
    *hidden, last = (i for i, kind in enumerate(kinds) if kind == "Linear")
    end = {"TanH", "Sigmoid"} if recipe.target != "labels" else set()
    if not set(kinds) <= {"Linear", "Dropout", *ACTIVATIONS} or not set(kinds[last + 1 :]) <= end:
        raise Unfit("scikit-learn has no such layers")
    between = {kinds[i + 1] for i in hidden}
    if len(between) > 1 or not between <= ACTIVATIONS.keys() | {"Linear"}:
        raise Unfit("scikit-learn has one activation for all hidden layers")
    kind = MLPClassifier if recipe.target == "labels" else MLPRegressor
    return kind(
        hidden_layer_sizes=[recipe.layers[i]["out_features"] for i in hidden],
        activation=ACTIVATIONS.get(next(iter(between), ""), "identity"),
        solver="sgd" if recipe.optimizer["type"] == "SGD" else "adam",
        learning_rate_init=recipe.optimizer["lr"],
        momentum=0.0,
        alpha=0.0,
        batch_size=recipe.batch_size,
        shuffle=False,
        random_state=0,
    )
