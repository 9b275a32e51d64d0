"""Convolutions over the 16 x 16 pixels of a digit, on USPS."""

from experiments.runner import Figures, Run, at_least, classify, experiment
from portanet import Adam, AvgPool2D, Conv2D, Flatten, Linear, ReLU, Sequential

CHOICES = (
    "The source names neither optimizer nor batch size for its 2-D convolutions: Adam with learning rate 1e-3 and "
    "batch 64, as for its other networks."
)


@experiment(
    "001-conv2d-net1",
    source="001, section 4.2.1",
    data="usps",
    what="32 filters of 3x3, average pooling of 2, 100 ReLU, 10; batch 64, 100 epochs",
    choices=CHOICES,
    reported={"train accuracy": at_least(0.9525), "test accuracy": at_least(0.9162)},
)
def net1(run: Run) -> Figures:
    return train(run, one_convolution(32))


@experiment(
    "001-conv2d-net2",
    source="001, section 4.2.1",
    data="usps",
    what="64 filters of 3x3, average pooling of 2, 100 ReLU, 10; batch 64, 100 epochs",
    choices=CHOICES,
    reported={"train accuracy": at_least(0.9564), "test accuracy": at_least(0.9148)},
)
def net2(run: Run) -> Figures:
    return train(run, one_convolution(64))


@experiment(
    "001-conv2d-net3",
    source="001, section 4.2.1",
    data="usps",
    what=(
        "32 filters of 3x3, average pooling of 2 with stride 1; 64 filters of 3x3, average pooling of 2; 100 ReLU, 10; "
        "batch 64, 100 epochs"
    ),
    choices=CHOICES,
    reported={"train accuracy": at_least(0.9539), "test accuracy": at_least(0.9147)},
)
def net3(run: Run) -> Figures:
    net = Sequential(
        Conv2D(1, 32, 3),
        AvgPool2D(2, 1),
        Conv2D(32, 64, 3),
        AvgPool2D(2, 2),
        Flatten(),
        Linear(1600, 100),
        ReLU(),
        Linear(100, 10),
    )
    return train(run, net)


@experiment(
    "001-conv2d-500",
    source="001, section 4.2.2",
    data="usps",
    what="64 filters of 3x3, average pooling of 2, 100 ReLU, 10; batch 64, 500 epochs",
    choices=CHOICES,
    reported={"train accuracy": at_least(0.9839), "test accuracy": at_least(0.9412)},
)
def long(run: Run) -> Figures:
    return train(run, one_convolution(64), epochs=500)


def one_convolution(channels: int) -> Sequential:
    """Return network 1 or 2."""
    return Sequential(
        Conv2D(1, channels, 3), AvgPool2D(2, 2), Flatten(), Linear(49 * channels, 100), ReLU(), Linear(100, 10)
    )


def train(run: Run, net: Sequential, *, epochs: int = 100) -> Figures:
    """Train a network and return its figures."""
    return classify(run, net, Adam(1e-3), run.load("usps"), batch_size=64, epochs=2 if run.quick else epochs)
