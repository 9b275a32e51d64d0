"""
Draw the pictures of the documentation: ``python docs/images/make.py``. It needs the extra ``experiments``.

It writes ``boundary.png``, its dark form, and ``training_step.png`` beside this file.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import portanet as pn

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from pictures import save_light_and_dark  # noqa: E402

BLUE, GREY, GREEN = "#dbe9f6", "#eeeeee", "#e2f0d9"


def spirals(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (2n, 2) on two noisy spirals, and the spiral of each."""
    rng = np.random.default_rng(seed)
    angle = np.sqrt(rng.uniform(0.02, 1, size=(2, n))) * 2 * np.pi
    phase = np.asarray([[0.0], [np.pi]])
    points = angle[..., None] * np.stack([np.cos(angle + phase), np.sin(angle + phase)], axis=-1) / 2
    points += 0.1 * rng.normal(size=points.shape)
    return points.reshape(-1, 2), np.repeat([0, 1], n)


def boundary() -> Any:
    """Train a small network on two spirals, and draw its decision boundary."""
    x, labels = spirals(150, seed=0)
    net = pn.Sequential(
        pn.Linear(2, 32), pn.TanH(), pn.Linear(32, 32), pn.TanH(), pn.Linear(32, 1), pn.Sigmoid(), pn.Flatten()
    )
    trainer = pn.Trainer(net, pn.BCELoss(), pn.Adam(lr=0.01))
    trainer.fit(x, labels[:, None].astype("float32"), epochs=300, progress=False)
    return pn.plots.decision_boundary(
        lambda points: net.predict(points)[:, 0], x, labels, title="2-32-32-1 network, 300 epochs"
    )


def box(axes: Any, center: tuple[float, float], text: str, color: str, width: float = 3.4) -> None:
    """Draw a labelled box."""
    x, y = center
    style = {"boxstyle": "round,pad=0.04", "facecolor": color, "edgecolor": "black", "linewidth": 0.8}
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.3), width, 0.6, **style))
    title, _, file = text.partition("\n")
    axes.text(x, y + (0.12 if file else 0), title, ha="center", va="center", fontsize=8)
    axes.text(x, y - 0.14, file, ha="center", va="center", fontsize=7, family="monospace", color="#444444")


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 0.9})


def training_step() -> Any:
    """Draw the path of a batch from ``Trainer.fit`` to the optimizer."""
    figure = Figure(figsize=(7.6, 6.0), layout="constrained")
    axes = figure.subplots()
    middle = 6.0
    box(axes, (middle, 9), "Trainer.fit: epochs, callbacks\ntraining/trainer.py, loop.py", BLUE)
    box(axes, (middle, 8), "prepare_data: once per fit\ntraining/data.py", BLUE)
    arrow(axes, (middle, 8.66), (middle, 8.34))
    executors = {
        2.2: "EagerExecutor\nengine/eager.py",
        6.0: "GraphExecutor\nengine/graph.py",
        9.8: "StreamingExecutor\nengine/streaming.py",
    }
    for x, text in executors.items():
        box(axes, (x, 6.8), text, GREEN)
        arrow(axes, (middle, 7.66), (x, 7.14))
        arrow(axes, (x, 6.46), (middle, 5.94))
    axes.text(9.7, 7.5, "one of three executors", fontsize=8, va="center", style="italic")
    box(axes, (middle, 5.6), "train_step: forward, loss, backward, update\nengine/step.py", GREEN, 4.4)
    parts = {
        2.2: "Program.vjp\nengine/program.py",
        6.0: "Loss.vjp\nlosses/base.py",
        9.8: "Optimizer.step\noptimizers/",
    }
    for x, text in parts.items():
        box(axes, (x, 4.4), text, GREEN if x == 2.2 else BLUE)
        arrow(axes, (middle, 5.26), (x, 4.74))
    box(axes, (2.2, 3.4), "layers: formulas and gradients\nlayers/", BLUE)
    arrow(axes, (2.2, 4.06), (2.2, 3.74))
    box(axes, (middle, 2.2), "kernels: portable form\nkernels/", GREY)
    for x, y in ((2.2, 3.06), (6.0, 4.06), (9.8, 4.06)):
        arrow(axes, (x, y), (middle, 2.54))
    box(
        axes,
        (middle, 1.2),
        "override of the backend, if there is one\nbackends/numpy/, backends/cupy/",
        GREY,
        4.4,
    )
    arrow(axes, (middle, 1.86), (middle, 1.54))
    axes.set(xlim=(0.2, 12.2), ylim=(0.8, 9.4))
    axes.axis("off")
    return figure


if __name__ == "__main__":
    save_light_and_dark(boundary(), FOLDER / "boundary.png", dpi=80)
    training_step().savefig(FOLDER / "training_step.png", dpi=100)
