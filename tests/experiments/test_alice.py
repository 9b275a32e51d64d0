"""The network that writes, in both libraries."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="experiments draw with matplotlib")
pytest.importorskip("torch", reason="PyTorch is not installed")

from experiments.alice import STEPS, losses_of_pytorch
from portanet import GRU, Adam, CrossEntropyLoss, Dropout, Embedding, LearningRateScheduler, Linear, Sequential, Trainer
from portanet.schedules import OneCycle


def test_pytorch_takes_the_same_steps() -> None:
    rng, epochs = np.random.default_rng(0), 2
    ids = rng.integers(0, 5, size=(3, 3 * STEPS + 1))
    train, test = (ids[:, :-1], ids[:, 1:]), (ids[:1, :40], ids[:1, 1:41])
    layers = (
        Embedding(5, 4),
        GRU(4, 6, return_sequences=True),
        Dropout(0),
        Linear(6, 5),
    )  # no dropout: no random numbers
    net, schedule = Sequential(*layers).initialize(dtype="float64"), OneCycle(0.3, steps=3 * epochs)
    theirs = losses_of_pytorch(net, train, test, schedule=schedule, epochs=epochs, seed=0)
    ours = Trainer(net, CrossEntropyLoss(), Adam(clip_norm=1.0)).fit(
        *train,
        epochs=epochs,
        batch_size=3,
        truncated_bptt_steps=STEPS,
        validation_data=test,
        callbacks=[LearningRateScheduler(schedule)],
        progress=False,
    )
    np.testing.assert_allclose(theirs, ours["val_loss"], rtol=1e-9)
