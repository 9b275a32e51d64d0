"""Logistic regression on MNIST, and what longer training and larger batches do to it."""

from experiments.runner import Figures, Run, at_least, at_most, experiment
from portanet import SGD, CrossEntropyLoss, Flatten, History, Linear, Sequential, Trainer, accuracy, plots
from portanet.datasets import Dataset
from portanet.initializers import zeros

REPORTED = {
    (300, 10): (0.9226, 0.2737),
    (300, 15): (0.9238, 0.2687),
    (300, 20): (0.9242, 0.2704),
    (400, 10): (0.9260, 0.2662),
    (500, 10): (0.9254, 0.2659),
}
"""Batch size and epochs, with accuracy and loss on the test set, in the order of the source."""


def logistic_regression() -> Sequential:
    return Sequential(Flatten(), Linear(784, 10, init=zeros))


@experiment(
    "003-logistic",
    source="003, exercise 1; figures of 002",
    data="mnist",
    what="784-10, SGD with learning rate 0.5; batch 300 for 10, 15 and 20 epochs, 400 and 500 for 10",
    choices=(
        "The sources give no initial weights: zeros, which is as good a start as any for a convex cost. One network is "
        "trained on and on through the five settings, see the remark; beside it, others are trained from the start."
    ),
    remark=(
        "The source concludes that batches of 400 learn better than batches of 300. Its figures tell another story: "
        "each of its five runs seems to go on with the weights of the one before, as a second call of `fit` does, so "
        "that batches of 400 and 500 come after 45 and 55 epochs. A network trained on and on like this follows its "
        "figures, to within 0.0012 of accuracy and 0.001 of loss, but for one loss, 0.2704, which is above those "
        "before and after it. From the start, batches of 400 and 500 do worse than batches of 300, since "
        "they make fewer steps, and are far from the source's losses. The five figures missed are missed by no more "
        "than 1.4 standard deviations of our three seeds: on either side of them the source's one run may lie."
    ),
    reported={
        f"test {score}, batch {batch_size}, {epochs} epochs": bound(value)
        for (batch_size, epochs), values in REPORTED.items()
        for score, bound, value in zip(("accuracy", "loss"), (at_least, at_most), values, strict=True)
    },
)
def logistic(run: Run) -> Figures:
    data, one = run.load("mnist"), trainer(run)
    figures: dict[str, float] = {}
    course: dict[str, list[float]] = {"loss": [], "accuracy": []}
    for batch_size, epochs in REPORTED:
        history = train(run, one, data, batch_size, epochs)
        for score, values in course.items():
            values.extend(history[f"val_{score}"])
            figures[f"test {score}, batch {batch_size}, {epochs} epochs"] = values[-1]
    for batch_size in (400, 500):
        history = train(run, trainer(run), data, batch_size, 10)
        figures |= {f"test {score}, batch {batch_size} from the start": history[f"val_{score}"][-1] for score in course}
    panels = {f"test {score}": {"": values} for score, values in course.items()}
    curves = plots.curves(range(1, len(course["loss"]) + 1), panels, xlabel="epoch", title=run.id)
    run.picture("course", curves, f"{run.id}: one network, trained on and on through the five settings")
    return figures


def trainer(run: Run) -> Trainer:
    net = logistic_regression()
    return Trainer(net, CrossEntropyLoss(), SGD(0.5), metrics=[accuracy], device=run.backend, seed=run.seed)


def train(run: Run, trained: Trainer, data: Dataset, batch_size: int, epochs: int) -> History:
    x, y, test = data.x_train, data.y_train, (data.x_test, data.y_test)
    with run.training(trained.net, f"batch {batch_size}, {epochs} epochs"):
        return trained.fit(x, y, batch_size=batch_size, epochs=1 if run.quick else epochs, validation_data=test)
