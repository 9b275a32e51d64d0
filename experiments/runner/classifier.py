"""Train and evaluate a classifier, as most experiments do."""

import sys
from collections.abc import Sequence

from experiments.runner.run import Figures, Run
from portanet import Callback, CrossEntropyLoss, Layer, Optimizer, Trainer, accuracy, metrics, plots
from portanet.datasets import Dataset


def classify(
    run: Run,
    net: Layer,
    optimizer: Optimizer,
    data: Dataset,
    *,
    batch_size: int,
    epochs: int,
    callbacks: Sequence[Callback] = (),
    name: str = "",
) -> Figures:
    """
    Train with softmax cross-entropy; draw training curves and the confusion matrix of the test set.

    The test set is evaluated after each epoch for the curves only. The training time includes these evaluations.

    Parameters
    ----------
    run : Run
        The run.
    net : Layer
        Network with one output per class (logits).
    optimizer, data, batch_size, epochs, callbacks
        See :class:`portanet.Trainer`.
    name : str
        Identifies this network in the names of figures ("test loss, lr 0.5") and pictures.

    Returns
    -------
    dict
        "train accuracy", "train loss", "test accuracy" and "test loss" after training.
    """
    trainer = Trainer(net, CrossEntropyLoss(), optimizer, metrics=[accuracy], device=run.backend, seed=run.seed)
    test = data.x_test, data.y_test
    title = _with_name(run.id, name)
    print(f"{title}: {net.n_parameters:,} parameters on {run.backend.name}; val_ is the test set", file=sys.stderr)
    with run.training(net, name):
        resume = run.resume_arguments(epochs, callbacks)
        history = trainer.fit(
            data.x_train, data.y_train, batch_size=batch_size, epochs=epochs, validation_data=test, **resume
        )
    matrix = metrics.confusion_matrix(y_true=data.y_test, y_pred=trainer.predict(data.x_test))
    curves = plots.training_curves(history, title=title, validation_label="test")
    confusion = plots.confusion_matrix(matrix, data.classes, title=f"{title}: test set")
    run.picture(f"curves {name}".strip(), curves, f"{title}: training curves")
    run.picture(f"confusion {name}".strip(), confusion, f"{title}: confusion matrix of the test set")
    sets = {"train": (data.x_train, data.y_train), "test": test}
    scores = {part: trainer.evaluate(*examples) for part, examples in sets.items()}
    return {_with_name(f"{part} {score}", name): scores[part][score] for part in sets for score in ("accuracy", "loss")}


def _with_name(text: str, name: str) -> str:
    return f"{text}, {name}" if name else text
