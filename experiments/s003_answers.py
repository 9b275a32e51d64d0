"""What the course asks about its first two networks: how many parameters, and whether the cost is convex."""

from collections.abc import Callable

from experiments.runner import Figures, Reported, Run, experiment
from experiments.s003_logistic import logistic_regression
from experiments.s003_mlp import perceptron
from portanet import SGD, CrossEntropyLoss, Sequential, Trainer
from portanet.datasets import Dataset


@experiment(
    "003-answers",
    source="003, exercises 1 and 2; answers of 002",
    data="mnist",
    what="784-10 and 784-100 sigmoid-10: parameters by summary(), and the cost midway between two trained networks",
    choices=(
        "For the cost: SGD with learning rate 0.5, batch 300, 5 epochs, from two seeds: two orders of the examples, "
        "and for the perceptron two draws of initial weights."
    ),
    remark=(
        "002 answers that the cost of logistic regression is not convex. It is: the cross-entropy of a softmax is "
        "convex in the scores, and these are linear in the weights; midway between two places the cost is at most the "
        "mean of theirs. That of the perceptron is not, which the hill between two trained networks shows."
    ),
    reported={"parameters, logistic regression": Reported(7_850), "parameters, perceptron": Reported(79_510)},
)
def answers(run: Run) -> Figures:
    data = run.load("mnist")
    figures: dict[str, float] = {}
    for name, make in (("logistic regression", logistic_regression), ("perceptron", perceptron)):
        net = make()
        net.summary((28, 28, 1))
        figures[f"parameters, {name}"] = net.n_parameters
        figures[f"cost midway less mean of the ends, {name}"] = hill(run, make, data)
    return figures


def hill(run: Run, make: Callable[[], Sequential], data: Dataset) -> float:
    """How much higher the cost is midway between the weights of two trained networks than at these, on average."""

    def trainer(seed: int) -> Trainer:
        return Trainer(make(), CrossEntropyLoss(), SGD(0.5), device=run.backend, seed=seed)

    def cost(trained: Trainer) -> float:
        return trained.evaluate(data.x_train, data.y_train)["loss"]

    ends = trainer(2 * run.seed), trainer(2 * run.seed + 1)
    for end in ends:
        end.fit(data.x_train, data.y_train, batch_size=300, epochs=1 if run.quick else 5, progress=False)
    one, other = (end.net.get_weights() for end in ends)
    middle = trainer(0)
    middle.net.set_weights({name: (one[name] + other[name]) / 2 for name in one})
    return cost(middle) - sum(map(cost, ends)) / 2
