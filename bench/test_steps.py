"""Training steps of dense networks, timed: ``python -m pytest bench`` (with pytest-benchmark installed)."""

from collections.abc import Callable

import numpy as np
import pytest

import portanet as pn

NETWORKS: dict[str, tuple[Callable[[], pn.Layer], pn.Loss, int]] = {
    "4-4-2": (lambda: pn.Sequential(pn.Linear(4, 4), pn.TanH(), pn.Linear(4, 2)), pn.MSELoss(), 5),
    "784-10": (lambda: pn.Sequential(pn.Linear(784, 10)), pn.SoftmaxCrossEntropy(), 300),
    "784-100-10": (
        lambda: pn.Sequential(pn.Linear(784, 100), pn.Sigmoid(), pn.Linear(100, 10)),
        pn.SoftmaxCrossEntropy(),
        300,
    ),
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", NETWORKS)
def test_step(benchmark, name: str, device: str) -> None:
    build, loss, batch_size = NETWORKS[name]
    try:
        trainer = pn.Trainer(build(), loss, pn.SGD(0.01), device=device)
    except pn.BackendUnavailable as why:
        pytest.skip(str(why))
    n_in, rng = trainer.net.parameters()[0].shape[0], np.random.default_rng(0)
    n_out = trainer.net.output_shape((n_in,))[0]
    labels = rng.integers(n_out, size=batch_size)
    target = np.eye(n_out)[labels] if isinstance(loss, pn.MSELoss) else labels
    x, target = trainer.net.asarray(rng.normal(size=(batch_size, n_in))), trainer.net.asarray(target)

    def step() -> None:
        trainer.step(x, target)
        trainer.backend.synchronize()

    benchmark(step)
