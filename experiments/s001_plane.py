"""Decision boundaries between points in the plane, with the course interface of source 001."""

import numpy as np

from experiments.runner import Figures, Run, experiment, train_with_optim
from portanet import plots
from portanet.course import Linear, MSELoss, Optim, Sequential, Sigmoid, TanH


@experiment(
    "001-linear-boundary",
    source="001, section 2.2.1",
    data="200 points in the plane around (1.5, 1.5) and (-1.5, -1.5), linearly separable; targets 1 and -1",
    what="Linear(2, 1); MSE",
    choices=(
        "The source gives neither points nor training settings: standard deviation 0.5; batch 20, 50 passes, eps 1e-3. "
        "The class is the sign of the output."
    ),
    reported={},
)
def linear(run: Run) -> Figures:
    points, labels = points_around(run, [(-1.5, -1.5), (1.5, 1.5)], std=0.5)
    return train(run, Sequential(Linear(2, 1)), points, labels, targets=(-1, 1), eps=1e-3)


@experiment(
    "001-two-layer",
    source="001, section 2.2.2",
    data="200 points in the plane around the corners of a square, opposite corners in one class; targets 0 and 1",
    what="Linear(2, 50), TanH, Linear(50, 1), Sigmoid; MSE",
    choices=(
        "The source gives neither points, loss nor training settings: corners at (±1.5, ±1.5), standard deviation 0.5; "
        "batch 20, 50 passes, eps 0.02. An output above 1/2 means class 1. A single Linear layer, trained for "
        "comparison, shows that no line separates the classes."
    ),
    reported={},
)
def two_layers(run: Run) -> Figures:
    points, labels = points_around(run, [(-1.5, -1.5), (-1.5, 1.5), (1.5, 1.5), (1.5, -1.5)], std=0.5)
    net = Sequential(Linear(2, 50), TanH(), Linear(50, 1), Sigmoid())
    single = Sequential(Linear(2, 1))
    return {
        **train(run, net, points, labels, targets=(0, 1), eps=0.02),
        **train(run, single, points, labels, targets=(0, 1), eps=1e-3, name="one Linear"),
    }


def points_around(run: Run, centres: list[tuple[float, float]], *, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw 200 points, normally distributed around the centres in turn, with labels 0, 1, 0, 1, ..."""
    indices = np.arange(200) % len(centres)
    return np.asarray(centres)[indices] + np.random.default_rng(run.seed).normal(0, std, (200, 2)), indices % 2


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
    """Train a network with one output; draw its decision boundary and its costs; return its accuracy."""
    optim = Optim(net.to(run.backend, seed=run.seed), MSELoss(), eps, seed=run.seed)
    y = np.asarray(targets)[labels][:, np.newaxis]
    train_with_optim(run, optim, points, y, batch_size=20, n_iter=10 if run.quick else 50, name=name)
    threshold, title = sum(targets) / 2, f"{run.id} {name}".strip()

    def output(x: np.ndarray) -> np.ndarray:
        return np.asarray(net.predict(x))[:, 0]

    boundary = plots.decision_boundary(output, points, labels, level=threshold, title=title)
    run.picture(f"boundary {name}".strip(), boundary, f"{title}: points and decision boundary")
    accuracy = np.mean((output(points) > threshold) == (labels == 1))
    return {f"accuracy, {name}" if name else "accuracy": float(accuracy)}
