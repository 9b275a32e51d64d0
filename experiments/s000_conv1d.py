"""Convolutions over the 256 pixels of a digit as a signal: max pooling against average pooling."""

from experiments.runner import Figures, Run, at_least, classify, experiment
from experiments.s000_usps import ORDER, first_digits
from portanet import Adam, AvgPool1D, Conv1D, Flatten, Layer, Linear, MaxPool1D, ReLU, Reshape, Sequential

WHAT = "full batch of 500 digits, 100 iterations; 32 filters of 3, {} pooling of 2, 100 ReLU, 10 softmax"
CHOICES = (
    f"{ORDER} The first 500 training digits and the first 100 test digits, with pixels in [0, 1]. The source names "
    "neither loss nor optimizer: cross-entropy, and Adam with its default settings. In 5-fold cross-validation, the "
    "results of learning rates from 0.0003 to 0.01 differ by at most 0.014."
)


@experiment(
    "000-conv1d-max",
    source="000, section 6.5",
    data="usps",
    what=WHAT.format("max"),
    choices=CHOICES,
    reported={"train accuracy": at_least(0.884), "test accuracy": at_least(0.82)},
)
def maximum(run: Run) -> Figures:
    return train(run, MaxPool1D(2, 2))


@experiment(
    "000-conv1d-avg",
    source="000, section 6.5",
    data="usps",
    what=WHAT.format("average"),
    choices=CHOICES,
    reported={"train accuracy": at_least(0.87), "test accuracy": at_least(0.83)},
)
def average(run: Run) -> Figures:
    return train(run, AvgPool1D(2, 2))


def train(run: Run, pool: Layer) -> Figures:
    """Return the figures of the source's network with a pooling layer."""
    net = Sequential(Reshape(256, 1), Conv1D(1, 32, 3), pool, Flatten(), Linear(4064, 100), ReLU(), Linear(100, 10))
    data = first_digits(run, 500, max_pixel=1.0)
    return classify(run, net, Adam(1e-3), data, batch_size=500, epochs=5 if run.quick else 100)
