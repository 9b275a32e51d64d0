"""Further work of source 001: batch norm, dropout, augmentation, a schedule and an adaptive optimizer."""

from experiments.runner import Figures, Run, at_least, classify, experiment
from portanet import (
    AdamW,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    Layer,
    LearningRateScheduler,
    Linear,
    MaxPool2D,
    RandomTranslation,
    ReLU,
    Sequential,
)
from portanet.schedules import OneCycle


def convolution(n_in: int, n_out: int) -> list[Layer]:
    """Return a 3x3 convolution with batch norm and ReLU that keeps the size."""
    return [Conv2D(n_in, n_out, 3, padding="same", bias=False), BatchNorm(n_out), ReLU()]


@experiment(
    "001-further",
    source="001, conclusion",
    data="usps",
    what=(
        "16x16 pixels, shifted by up to 1; two layers of 32 filters of 3x3, pooling of 2, two of 64, pooling of 2, "
        "dropout 0.4, 100 ReLU, 10; batch norm after each convolution; AdamW over one cycle of 40 epochs, batch 64"
    ),
    choices="All chosen on the last 1000 training examples, held out; then trained on all examples.",
    reported={"test accuracy": at_least(0.95)},
    remark=(
        "The source reports no figure. The goal is the error of the network of 1989 on these images, 5.0 %; people "
        "misclassify 2.4 to 2.5 % of them."
    ),
)
def further(run: Run) -> Figures:
    data, epochs = run.load("usps"), 2 if run.quick else 40
    net = Sequential(
        RandomTranslation(1),
        *(*convolution(1, 32), *convolution(32, 32), MaxPool2D(2)),
        *(*convolution(32, 64), *convolution(64, 64), MaxPool2D(2)),
        *(Flatten(), Dropout(0.4), Linear(1024, 100), ReLU(), Linear(100, 10)),
    )
    steps = epochs * -(-len(data.x_train) // 64)
    schedule = LearningRateScheduler(OneCycle(4e-3, steps=steps), per="step")
    return classify(run, net, AdamW(weight_decay=0.02), data, batch_size=64, epochs=epochs, callbacks=[schedule])
