"""One run of an experiment."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from time import perf_counter
from typing import Any, TypeAlias

from portanet import Layer, datasets
from portanet.backends import Backend
from portanet.datasets import Dataset

Figures: TypeAlias = Mapping[str, float]
"""Our figures, each under the name that the source's figure has in the record; the same names with every seed."""


@dataclass
class Run:
    """
    What an experiment is given, and what it leaves beside its figures.

    Parameters
    ----------
    id : str
        The experiment's.
    backend : Backend
        The device to train on.
    seed : int
        Of everything that is drawn.
    quick : bool
        Whether to take a shorter form, of seconds at most.
    draw : bool
        Whether to keep pictures; those of one seed are enough.
    networks : list of dict
        What :meth:`training` noted.
    pictures : dict of str to bytes
        PNG files by name.
    captions : dict of str to str
        What the pictures show, by the same names.
    """

    id: str
    backend: Backend
    seed: int = 0
    quick: bool = False
    draw: bool = True
    networks: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)

    def load(self, name: str) -> Dataset:
        """Load a data set; a quick run sees the first 2000 training and 1000 test examples only."""
        data = datasets.load(name)
        if not self.quick:
            return data
        return replace(
            data,
            x_train=data.x_train[:2000],
            y_train=data.y_train[:2000],
            x_test=data.x_test[:1000],
            y_test=data.y_test[:1000],
        )

    @contextmanager
    def training(self, net: Layer, name: str = "") -> Iterator[None]:
        """Time the training of a network, and note what it is; ``name`` tells it from the others of the run."""
        begun = perf_counter()
        yield
        self.networks.append(
            {
                "name": name,
                "layers": repr(net),
                "parameters": net.n_parameters,
                "dtype": net.flat.dtype,
                "training_seconds": round(perf_counter() - begun, 2),
            }
        )

    def picture(self, name: str, figure: Any, caption: str = "") -> None:
        """Keep a matplotlib figure as a PNG file; the caption, by default its name, stands below it in the report."""
        if not self.draw:
            return
        from PIL import Image

        drawn, png = BytesIO(), BytesIO()
        figure.savefig(drawn, format="png", dpi=100)
        Image.open(drawn).convert("RGB").quantize(256).save(png, format="png", optimize=True)  # a third of the bytes
        file = re.sub(r"[^\w.+-]+", "-", name) + ".png"
        self.pictures[file], self.captions[file] = png.getvalue(), caption or name
