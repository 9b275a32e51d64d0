"""Auto-encoders of the first 5000 digits of USPS, trained with 100 full-batch steps."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from experiments.runner import Figures, Run, at_least, classify, experiment
from experiments.s000_usps import ORDER, first_digits
from portanet import (
    Adam,
    AutoEncoder,
    BCELoss,
    Linear,
    Loss,
    MSELoss,
    Sequential,
    Sigmoid,
    TanH,
    Trainer,
    binary_accuracy,
    metrics,
    plots,
)
from portanet.datasets import Dataset

SHEET = "256-100 TanH-10 TanH-100 TanH-256 Sigmoid"
NOISE = 0.3
RATE = 0.007
CHOICES = (
    f"{ORDER} The first 5000 training digits and the first 100 test digits. The source names no optimizer: Adam with "
    f"learning rate {RATE}, chosen by the loss on a held-out fifth of the 5000 digits. Normalised pixels are in "
    "[0, 1], the range of a sigmoid. The pixel accuracy is the fraction of pixels on the right side of 0.5."
)


def sheet_net() -> AutoEncoder:
    """Return the network of the course's exercise sheet."""
    encoder = Sequential(Linear(256, 100), TanH(), Linear(100, 10), TanH())
    return AutoEncoder(encoder, Sequential(Linear(10, 100), TanH(), Linear(100, 256), Sigmoid()))


def own_net() -> AutoEncoder:
    """Return the network of the source's authors."""
    encoder = Sequential(Linear(256, 50), Linear(50, 10), Sigmoid())
    return AutoEncoder(encoder, Sequential(Linear(10, 50), Linear(50, 256), Sigmoid()))


@experiment(
    "000-ae-normalised",
    source="000, section 6.4.1",
    data="usps",
    what=(
        f"network of the sheet: {SHEET}; own network: 256-50-10 Sigmoid-50-256 Sigmoid; full batch of 5000 digits, 100 "
        "iterations"
    ),
    choices=f"{CHOICES} We train under MSE and under BCE, which the source compares.",
    remark=(
        "The source finds MSE better than BCE. With a correct gradient, BCE is as good to within 0.2 dB of PSNR, "
        "although the comparison uses the squared error, which MSE minimises and BCE does not."
    ),
    reported={},
)
def normalised(run: Run) -> Figures:
    data = pixels(run)
    return compare(run, {"sheet": sheet_net, "own": own_net}, data, data)


@experiment(
    "000-ae-binary",
    source="000, section 6.4.2",
    data="usps",
    what=f"binary pixels; {SHEET}; full batch of 5000 digits, 100 iterations",
    choices=(
        f"{CHOICES} A pixel is 1 if it is above 0.5. The source names no loss for its figures; we compare them with "
        "those under MSE."
    ),
    remark=(
        'A single image predicted for all digits has three quarters of the pixels right (see the figures "one image '
        "for all\"), so the source's network had learnt little more. The source says that outputs of 1 everywhere "
        "minimise BCE. This holds for the cross-entropy of classes, which ignores targets of 0. Under BCE, outputs of "
        "1 cost fifty times as much as the network's outputs, and a correct gradient leads away from them."
    ),
    reported={
        "train pixel accuracy, sheet, MSE": at_least(0.7804),
        "test pixel accuracy, sheet, MSE": at_least(0.7601),
    },
)
def binary(run: Run) -> Figures:
    data = pixels(run)
    data = replace(data, x_train=np.round(data.x_train), x_test=np.round(data.x_test))
    mean_image, ones = np.round(data.x_train.mean(axis=0)), np.ones_like(data.x_test)
    return {
        **compare(run, {"sheet": sheet_net}, data, data),
        "train pixel accuracy, one image for all": np.mean(data.x_train == mean_image),
        "test pixel accuracy, one image for all": np.mean(data.x_test == mean_image),
        "test BCE, outputs of 1": float(BCELoss()(ones, data.x_test)),
    }


@experiment(
    "000-ae-denoise",
    source="000, section 6.4.3",
    data="usps",
    what=f"noisy inputs, clean targets; {SHEET}; full batch of 5000 digits, 100 iterations",
    choices=f"{CHOICES} Normal noise of standard deviation {NOISE}, drawn once.",
    remark=(
        "Reconstructions of noisy digits are nearly as good as those of clean digits (000-ae-normalised): a code of "
        "ten numbers represents digits, not noise. They are hardly closer to the clean digits than the noisy inputs "
        "are, because the code is so short and the steps are so few; 001-denoise-usps has more of both."
    ),
    reported={},
)
def denoise(run: Run) -> Figures:
    data = pixels(run)
    noisy = with_noise(run, data)
    before = float(metrics.psnr(noisy.x_test, data.x_test))
    return {"PSNR before": before, **compare(run, {"sheet": sheet_net}, noisy, data)}


@experiment(
    "000-ae-pretrain",
    source="000, section 6.4.4",
    data="usps",
    what=(
        f"{SHEET} under MSE, then 256-100 TanH-10 on its outputs; both with a full batch of 5000 digits, 100 iterations"
    ),
    choices=(
        f"{CHOICES} The source does not describe the network that classifies the outputs: one hidden layer, softmax "
        f"cross-entropy, Adam. With noise, of standard deviation {NOISE}, all images are noisy, and the targets of the "
        "auto-encoder are clean."
    ),
    remark=(
        "The source finds that noise improves the accuracy, and that networks without convolutions are bad. With the "
        "same number of steps, noise costs accuracy, as expected. The same dense network does better on the pixels "
        "than on the outputs of the auto-encoder: pre-training by reconstruction has no use if all digits have labels."
    ),
    reported={
        "train accuracy, auto-encoder": at_least(0.4124),
        "test accuracy, auto-encoder": at_least(0.37),
        "train accuracy, auto-encoder, noise": at_least(0.4788),
        "test accuracy, auto-encoder, noise": at_least(0.47),
    },
)
def pretrain(run: Run) -> Figures:
    clean = pixels(run)
    figures: dict[str, float] = {}
    for inputs, noise in ((clean, ""), (with_noise(run, clean), ", noise")):
        trainer = train(run, sheet_net(), MSELoss(), inputs, clean, name=f"auto-encoder{noise}")
        outputs = replace(inputs, x_train=trainer.predict(inputs.x_train), x_test=trainer.predict(inputs.x_test))
        for images, name in ((outputs, f"auto-encoder{noise}"), (inputs, f"pixels{noise}")):
            net = Sequential(Linear(256, 100), TanH(), Linear(100, 10))
            figures |= classify(run, net, Adam(RATE), images, batch_size=5000, epochs=iterations(run), name=name)
    return figures


def pixels(run: Run) -> Dataset:
    """Return 5000 training and 100 test digits as rows of pixels in [0, 1]."""
    data = first_digits(run, 5000, max_pixel=1.0)
    return replace(data, x_train=data.x_train.reshape(-1, 256), x_test=data.x_test.reshape(-1, 256))


def with_noise(run: Run, data: Dataset) -> Dataset:
    """Add normal noise to the images."""
    rng = np.random.default_rng(run.seed)
    noise = [NOISE * rng.standard_normal(x.shape, dtype="float32") for x in (data.x_train, data.x_test)]
    return replace(data, x_train=data.x_train + noise[0], x_test=data.x_test + noise[1])


def compare(
    run: Run, nets: dict[str, Callable[[], AutoEncoder]], inputs: Dataset, targets: Dataset
) -> dict[str, float]:
    """Return the figures of each network under each loss, and draw its outputs for the first ten test images."""
    shown = {"target": targets.x_test, "input": inputs.x_test} if inputs is not targets else {"input": inputs.x_test}
    figures: dict[str, float] = {}
    for kind, net in nets.items():
        for loss in (MSELoss(), BCELoss()):
            name = f"{kind}, {type(loss).__name__.removesuffix('Loss')}"
            trainer = train(run, net(), loss, inputs, targets, name=name)
            outputs = shown[name] = trainer.predict(inputs.x_test)
            figures |= {
                f"train pixel accuracy, {name}": trainer.evaluate(inputs.x_train, targets.x_train)["pixel_accuracy"],
                f"test pixel accuracy, {name}": float(binary_accuracy(outputs, targets.x_test)),
                f"test PSNR, {name}": float(metrics.psnr(outputs, targets.x_test)),
                f"test BCE, {name}": float(BCELoss()(outputs, targets.x_test)),
            }
    images = np.concat([images[:10] for images in shown.values()]).reshape(-1, 16, 16)
    run.picture("digits", plots.image_grid(images, rows=list(shown), title=f"{run.id}: test set"))
    return figures


def train(run: Run, net: AutoEncoder, loss: Loss, inputs: Dataset, targets: Dataset, *, name: str) -> Trainer:
    """Train a network with full batches to predict the targets from the inputs."""
    pixel_accuracy = {"pixel_accuracy": binary_accuracy}
    trainer = Trainer(net, loss, Adam(RATE), metrics=pixel_accuracy, device=run.backend, seed=run.seed)
    x, target, test = inputs.x_train, targets.x_train, (inputs.x_test, targets.x_test)
    with run.training(net, name):
        history = trainer.fit(x, target, batch_size=len(x), epochs=iterations(run), validation_data=test)
    run.picture(f"curves {name}", plots.training_curves(history, title=f"{run.id}: {name}", validation_label="test"))
    return trainer


def iterations(run: Run) -> int:
    """Return the source's number of iterations; fewer in a quick run."""
    return 20 if run.quick else 100
