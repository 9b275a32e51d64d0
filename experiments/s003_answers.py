"""Questions of the course about its first two networks: number of parameters, and convexity of the cost."""

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
        "For the cost: SGD with learning rate 0.5, batch 300, 5 epochs, with two seeds, which give two orders of the "
        "examples and, for the perceptron, two sets of initial weights."
    ),
    remark=(
        "002 answers that the cost of logistic regression is not convex. It is convex: the cross-entropy of a softmax "
        "is convex in the scores, and the scores are linear in the weights, so the cost midway between two points is "
        "at most the mean of their costs. The cost of the perceptron is not convex: it is higher midway between two "
        "trained networks."
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
        figures[f"cost midway less mean of the ends, {name}"] = excess_cost_midway(run, make, data)
    return figures


def excess_cost_midway(run: Run, make: Callable[[], Sequential], data: Dataset) -> float:
    """Return the cost midway between the weights of two trained networks, minus the mean of their costs."""

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
