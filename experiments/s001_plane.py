"""Points of a plane, and where a network draws the line between them, by the names of the course of source 001."""

import numpy as np

from experiments.runner import Figures, Run, descend, experiment
from portanet import plots
from portanet.course import Linear, MSELoss, Optim, Sequential, Sigmoid, TanH


@experiment(
    "001-linear-boundary",
    source="001, section 2.2.1",
    data="200 points of a plane around (1.5, 1.5) and (-1.5, -1.5), which a line separates; targets 1 and -1",
    what="Linear(2, 1); MSE",
    choices=(
        "The source gives neither points nor training: standard deviation 0.5; batch 20, 50 passes, eps 1e-3. "
        "The class is the sign of the output."
    ),
    reported={},
)
def linear(run: Run) -> Figures:
    points, labels = around(run, [(-1.5, -1.5), (1.5, 1.5)], std=0.5)
    return train(run, Sequential(Linear(2, 1)), points, labels, targets=(-1, 1), eps=1e-3)


@experiment(
    "001-two-layer",
    source="001, section 2.2.2",
    data="200 points of a plane around the corners of a square, opposite ones of one class; targets 0 and 1",
    what="Linear(2, 50), TanH, Linear(50, 1), Sigmoid; MSE",
    choices=(
        "The source gives neither points nor training, and no loss: corners at (±1.5, ±1.5), standard deviation 0.5; "
        "batch 20, 50 passes, eps 0.02. The class is whether the output is above 1/2. One Linear beside it shows that "
        "no line will do."
    ),
    reported={},
)
def two_layers(run: Run) -> Figures:
    points, labels = around(run, [(-1.5, -1.5), (-1.5, 1.5), (1.5, 1.5), (1.5, -1.5)], std=0.5)
    net = Sequential(Linear(2, 50), TanH(), Linear(50, 1), Sigmoid())
    alone = Sequential(Linear(2, 1))
    return {
        **train(run, net, points, labels, targets=(0, 1), eps=0.02),
        **train(run, alone, points, labels, targets=(0, 1), eps=1e-3, name="one Linear"),
    }


def around(run: Run, centres: list[tuple[float, float]], *, std: float) -> tuple[np.ndarray, np.ndarray]:
    """200 points with normal distances to the centres in turn, and labels 0, 1, 0, 1 ..."""
    which = np.arange(200) % len(centres)
    return np.asarray(centres)[which] + np.random.default_rng(run.seed).normal(0, std, (200, 2)), which % 2


def train(
    run: Run,
    net: Sequential,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    targets: tuple[int, int],
    eps: float,
    name: str = "",
) -> dict[str, float]:
    """Train a network of one output; draw its decisions and its costs."""
    optim = Optim(net.to(run.backend, seed=run.seed), MSELoss(), eps, seed=run.seed)
    wanted = np.asarray(targets)[labels][:, np.newaxis]
    descend(run, optim, points, wanted, batch_size=20, n_iter=10 if run.quick else 50, name=name)
    middle, title = sum(targets) / 2, f"{run.id} {name}".strip()

    def output(places: np.ndarray) -> np.ndarray:
        return np.asarray(net.predict(places))[:, 0]

    boundary = plots.decision_boundary(output, points, labels, level=middle, title=title)
    run.picture(f"boundary {name}".strip(), boundary, f"{title}: the points, and the line where the output decides")
    right = np.mean((output(points) > middle) == (labels == 1))
    return {f"accuracy, {name}" if name else "accuracy": float(right)}
