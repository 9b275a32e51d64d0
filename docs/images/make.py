"""
Draw the pictures of the documentation: ``python docs/images/make.py``. It needs the extra ``experiments``.

It writes them beside this file, each for light pages and for dark ones. Names as arguments, such as ``chain house``,
draw these alone. Some pictures are drawn by the code of the page that shows them.
"""

import os
import re
import sys
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from drawing import BLUE, GREEN, GREY, arrow, box, new_axes
from house import house
from learn import chain, convolution, recurrent
from matplotlib.figure import Figure

import portanet as pn

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from pictures import save_light_and_dark  # noqa: E402


def boundary() -> Any:
    """Run an example of the gallery, and draw its two spirals."""
    example = run_path(str(FOLDER.parent / "gallery" / "networks" / "boundary.py"))
    score, x, labels = example["with_sigmoid"].predict, example["x"], example["labels"]
    return pn.plots.decision_boundary(score, x, labels, title="2-32-32-1 network, 300 epochs")


def training_step() -> Any:
    """Draw the path of a batch from ``Trainer.fit`` to the optimizer."""
    figure, axes = new_axes(7.6, 6.0, (0.2, 12.2), (0.8, 9.4))
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
    axes.text(9.7, 7.5, "one of several executors", fontsize=8, va="center", style="italic")
    box(axes, (middle, 5.6), "train_step: forward, loss, backward, update\nengine/step.py", GREEN, (4.4, 0.6))
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
        (4.4, 0.6),
    )
    arrow(axes, (middle, 1.86), (middle, 1.54))
    return figure


def run_page(page: str) -> None:
    """Run the blocks of a page in an empty folder, and keep the pictures that they save."""
    text = (FOLDER.parent / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    saved: dict[str, Figure] = {}
    keep = patch.object(Figure, "savefig", lambda figure, name: saved.update({name: figure}))
    with TemporaryDirectory() as folder, keep:
        os.chdir(folder)
        exec("\n".join(blocks), {"__name__": "__main__"})
        os.chdir(FOLDER)
    for name, figure in saved.items():
        save_light_and_dark(figure, FOLDER / name, dpi=100)


PICTURES = (boundary, training_step, chain, convolution, recurrent, house)
PAGES = {
    "activations": "learn/relu.md",
    "optimizers": "learn/optimizers.md",
    "initialization": "learn/initialization.md",
    "overfitting": "learn/overfitting.md",
    "vanishing": "learn/recurrent.md",
    "network": "howto/data.md",
    "changed": "howto/augmentation.md",
    "schedule": "howto/schedules.md",
    "curves": "howto/logging.md",
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or [*(draw.__name__ for draw in PICTURES), *PAGES]
    for draw in PICTURES:
        if draw.__name__ in wanted:
            dpi = 80 if draw is boundary else 140  # the front page shows it small
            save_light_and_dark(draw(), FOLDER / f"{draw.__name__}.png", dpi=dpi)
    for name, page in PAGES.items():
        if name in wanted:
            run_page(page)
