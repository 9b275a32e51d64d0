"""The first images of MNIST."""

from experiments.runner import Figures, Reported, Run, experiment
from portanet import plots


@experiment(
    "003-show",
    source="003, exercise 0; answer of 002",
    data="mnist",
    what="the first 200 training images, in 10 rows of 20",
    reported={"numbers in an image": Reported(784)},
)
def show(run: Run) -> Figures:
    images = run.load("mnist").x_train[:200]
    run.picture("images", plots.image_grid(images, columns=20), "The first 200 training images")
    return {"numbers in an image": images[0].size}
