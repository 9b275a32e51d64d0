"""What a launcher starts in the tests: a training whose ranks may fail in several ways."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import portanet as pn

CHILD = "import portanet; print(portanet.distributed.find_communicator().size)"


class Fault(pn.Callback):
    """Lets a rank fail before a step."""

    def __init__(self, kind: str, rank: int, step: int):
        self.kind, self.rank, self.step = kind, rank, step

    def on_train_batch_begin(self, trainer: Any) -> None:
        if trainer.communicator.rank != self.rank or trainer.steps != self.step:
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hang":
            time.sleep(600)
        if self.kind == "signal":
            signal.raise_signal(signal.SIGINT)
            return
        if self.kind == "mixed":
            trainer.evaluate(np.zeros((4, 12, 12, 1)), np.zeros(4, dtype="int64"))
        raise OSError("the disk is full")


def main(folder: Path, kind: str = "none", *numbers: str) -> None:
    """Train, and write the weights of each rank; the numbers are rank and step of the fault, timeout and dtype."""
    rank, step, timeout, dtype = (*numbers, *("0", "0", "20", "float32")[len(numbers) :])
    ranks = pn.distributed.find_communicator()
    if ranks.size > 1:
        ranks.timeout = float(timeout)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(203, 12, 12, 1)), rng.integers(0, 4, 203)
    net = pn.Sequential(
        *(pn.RandomTranslation(1), pn.Conv2D(4, 3), pn.BatchNorm(), pn.TanH(), pn.MaxPool2D(2), pn.Flatten()),
        *(pn.Dropout(0.2), pn.Linear(16), pn.TanH(), pn.Linear(4)),
    )
    net.build((12, 12, 1)).initialize(seed=1, dtype=dtype)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.02, momentum=0.9), metrics=["accuracy"])
    if kind == "caught":
        with suppress(ValueError):
            trainer.fit(x, y, epochs=0)
    if kind == "before" and trainer.communicator.rank == int(rank):
        raise OSError("the disk is full")
    checkpoint = pn.ModelCheckpoint(folder / "run-{epoch}.safetensors")
    calls = [checkpoint, *([Fault(kind, int(rank), int(step))] if kind not in ("none", "before", "caught") else [])]
    size = trainer.communicator.size
    history = trainer.fit(x, y, epochs=12, batch_size=24 // size, callbacks=calls, resume=True, progress=False)
    clusters = pn.KMeans(3).fit(x.reshape(len(x), -1), communicator=trainer.communicator).cluster_centers_
    np.savez(
        folder / f"{size}-{trainer.communicator.rank}.npz",
        weights=net.flat.data,
        losses=history["loss"],
        clusters=clusters,
        threads=pn.get_num_threads(),
        ranks_in_a_child=int(subprocess.run([sys.executable, "-c", CHILD], capture_output=True, check=True).stdout),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
