"""A dense network on USPS."""

from experiments.runner import Figures, Run, at_least, classify, experiment
from portanet import Adam, Flatten, Linear, Sequential, TanH


@experiment(
    "001-usps-mlp",
    source="001, section 2.2.3",
    data="usps",
    what="256-128 TanH-10, log-softmax cross-entropy; batch 64, 50 epochs",
    choices=(
        "The source's text lacks the network and the training settings: 128 hidden units with TanH, as in its "
        "auto-encoders, and their optimizer, Adam with learning rate 0.001 and batch 64."
    ),
    reported={"train accuracy": at_least(0.9787), "test accuracy": at_least(0.9172)},
)
def mlp(run: Run) -> Figures:
    net = Sequential(Flatten(), Linear(256, 128), TanH(), Linear(128, 10))
    return classify(run, net, Adam(1e-3), run.load("usps"), batch_size=64, epochs=5 if run.quick else 50)
