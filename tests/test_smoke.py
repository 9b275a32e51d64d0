"""The whole way in a second: train, evaluate, save, load, predict."""

from pathlib import Path

import numpy as np

import portanet as pn
from portanet.backends import Backend


def test_a_network_trains_saves_and_loads(backend: Backend, tmp_path: Path) -> None:
    data = pn.datasets.load("digits")
    net = pn.Sequential(pn.Flatten(), pn.Linear(64, 32), pn.ReLU(), pn.Dropout(0.1), pn.Linear(32, 10))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), metrics=[pn.accuracy], device=backend)
    trainer.fit(data.x_train, data.y_train, epochs=3, batch_size=32, progress=False)
    assert trainer.evaluate(data.x_test, data.y_test)["accuracy"] > 0.9
    net.save(tmp_path / "net.safetensors")
    copy = pn.load(tmp_path / "net.safetensors", device=backend)
    np.testing.assert_array_equal(copy.predict(data.x_test), net.predict(data.x_test))
