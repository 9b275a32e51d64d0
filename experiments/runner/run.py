"""One run of an experiment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from portanet import Callback, Layer, ModelCheckpoint, datasets
from portanet.backends import Backend
from portanet.datasets import Dataset

Figures: TypeAlias = Mapping[str, float]
"""Our figures by name. Names are those of the reported figures, and do not depend on the seed."""


class Clock(Callback):
    """Counts the seconds of a training run; a resumed one adds those up to its checkpoint."""

    def __init__(self) -> None:
        self.begin, self.earlier_seconds = perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + perf_counter() - self.begin

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.earlier_seconds = float(state["seconds"])


@dataclass
class Run:
    """
    Input of an experiment (device, seed), and its output besides the figures (pictures, networks).

    Parameters
    ----------
    id : str
        Id of the experiment.
    backend : Backend
        Device to train on.
    seed : int
        Seed of all random numbers.
    quick : bool
        Whether to run a short form, which takes seconds.
    draw : bool
        Whether to keep pictures.
    networks : list of dict
        Networks recorded by :meth:`training`.
    pictures : dict of str to bytes
        PNG files by name.
    captions : dict of str to str
        Captions of the pictures by name.
    checkpoints : Path, optional
        Folder of the checkpoints from which a run that was killed goes on.
    clock : Clock
        Clock of the latest :meth:`training`.
    earlier_seconds : float
        Seconds of training in earlier runs, which were killed.
    """

    id: str
    backend: Backend
    seed: int = 0
    quick: bool = False
    draw: bool = True
    networks: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    checkpoints: Path | None = None
    clock: Clock = field(default_factory=Clock, init=False)
    earlier_seconds: float = field(default=0.0, init=False)

    def load(self, name: str) -> Dataset:
        """Load a data set; in a quick run, only its first 2000 training and 1000 test examples."""
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
        """Time the training of a network, and record it under a name."""
        self.clock = Clock()
        yield
        self.earlier_seconds += self.clock.earlier_seconds
        self.networks.append(
            {
                "name": name,
                "layers": repr(net),
                "parameters": net.n_parameters,
                "dtype": net.flat.dtype,
                "training_seconds": round(self.clock.seconds, 2),
            }
        )

    def resume_arguments(self, epochs: int, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Return what makes ``fit``, within :meth:`training`, go on from the checkpoint of a run that was killed."""
        if self.checkpoints is None:
            return {"callbacks": callbacks}
        path = self.checkpoints / f"network-{len(self.networks)}.safetensors"
        checkpoint = ModelCheckpoint(path, every=max(1, epochs // 20))
        return {"callbacks": [*callbacks, self.clock, checkpoint], "resume": True}

    def picture(self, name: str, figure: Any, caption: str = "") -> None:
        """Keep a matplotlib figure as a PNG file, with a caption for the report (default: the name)."""
        if not self.draw:
            return
        from PIL import Image

        full, png = BytesIO(), BytesIO()
        figure.savefig(full, format="png", dpi=100)
        Image.open(full).convert("RGB").quantize(256).save(png, format="png", optimize=True)  # a third of the size
        file = re.sub(r"[^\w.+-]+", "-", name) + ".png"
        self.pictures[file], self.captions[file] = png.getvalue(), caption or name
