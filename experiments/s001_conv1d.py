"""Convolutions over the 256 pixels of a digit as one long signal, on USPS."""

from experiments.frame import Figures, Run, at_least, classify, experiment
from portanet import Adam, Conv1D, Flatten, Linear, MaxPool1D, ReLU, Reshape, Sequential


@experiment(
    "001-conv1d-net1",
    source="001, section 4.1",
    data="usps",
    what="256 pixels; 32 filters of 3, max pooling by 2, 100 ReLU, 10; batch 64, 100 epochs",
    choices=(
        "The source gives no optimizer for this network; Adam with learning rate 1e-3, which it gives for others. It "
        "prints 4024 inputs of the dense layer; 32 channels of 127 cells are 4064."
    ),
    reported={"test accuracy": at_least(0.9287)},
)
def net1(run: Run) -> Figures:
    net = Sequential(
        Reshape(256, 1),
        Conv1D(1, 32, 3),
        MaxPool1D(2, 2),
        Flatten(),
        Linear(4064, 100),
        ReLU(),
        Linear(100, 10),
    )
    return classify(run, net, Adam(1e-3), run.load("usps"), batch_size=64, epochs=3 if run.quick else 100)
