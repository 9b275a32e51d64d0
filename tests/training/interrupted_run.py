"""A training run to interrupt, in a process of its own: ``python -m tests.training.interrupted_run FOLDER [DELAY]``."""

import sys
import time
from pathlib import Path

import numpy as np

import portanet as pn
from portanet.training.callbacks import Training

rng = np.random.default_rng(0)
X = rng.normal(size=(64, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int64") + (X[:, 2] > 1)


class Slow(pn.Callback):
    """Gives the test time to interrupt each step, and says that training has begun."""

    def __init__(self, folder: Path, delay: float):
        self.folder, self.delay = folder, delay

    def on_train_batch_end(self, trainer: Training) -> None:
        (self.folder / "begun").touch()
        time.sleep(self.delay)


def main(folder: Path, delay: float = 0.0) -> None:
    net = pn.Sequential(pn.Linear(6, 16), pn.BatchNorm(16), pn.ReLU(), pn.Dropout(0.3), pn.Linear(16, 3))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), metrics="accuracy", seed=3)
    callbacks = [
        pn.LearningRateScheduler(pn.schedules.CosineDecay(0.02, 40)),
        pn.EarlyStopping("val_loss", patience=3),
        pn.CSVLogger(folder / "log.csv"),
        pn.ModelCheckpoint(folder / "run.safetensors", per="step"),
        Slow(folder, delay),
    ]
    trainer.fit(X, Y, epochs=5, batch_size=8, callbacks=callbacks, validation_data=(X, Y), progress=False, resume=True)
    trainer.save(folder / "end.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
