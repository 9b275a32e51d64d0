"""
Long runs: memory, open files and threads do not grow.

Each runs in a process of its own, in a short form always, and in its full length as a job: ``PORTANET_JOBS=1``. An
object or file that each unit of work left would show in the short form; small arrays show in the long form alone.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from tests.isolated import isolated

ROUNDS = 10
"""Parts of a run; the first three fill caches."""

MAX_MIB = 2.0
"""Largest growth of the resident memory over the last seven rounds; 0.1 was measured, in pages that malloc divides."""

MAX_OBJECTS = 20
"""Largest growth of the number of Python objects; none was measured."""

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(64, 8)).astype("float32"), RNG.integers(3, size=64)
IMAGES = RNG.normal(size=(64, 12, 12, 1)).astype("float32")

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system tells no resident memory")


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def usage() -> dict[str, float]:
    gc.collect()
    return {
        "MiB": resident_mib(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "Python threads": threading.active_count(),
        "objects": len(gc.get_objects()),
    }


def small_net() -> pn.Layer:
    return pn.Sequential(pn.Linear(8, 16), pn.BatchNorm(16), pn.ReLU(), pn.Dropout(0.1), pn.Linear(16, 3))


def conv_net() -> pn.Layer:
    return pn.Sequential(
        *(pn.Conv2D(1, 16, 3), pn.BatchNorm(16), pn.ReLU(), pn.MaxPool2D(2), pn.Conv2D(16, 16, 3), pn.TanH()),
        *(pn.Flatten(), pn.Linear(144, 3)),
    )


def make_trainer(net: Callable[[], pn.Layer] = small_net) -> pn.Trainer:
    return pn.Trainer(net(), pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy")


def steps_of(trainer: pn.Trainer, inputs: np.ndarray) -> Callable[[int], None]:
    x, y = trainer.net.asarray(inputs), trainer.net.asarray(Y)

    def run(n: int) -> None:
        for _ in range(n):
            trainer.step(x, y)

    return run


def steps(folder: Path) -> Callable[[int], None]:
    return steps_of(make_trainer(), X)


def conv_steps(folder: Path) -> Callable[[int], None]:
    return steps_of(make_trainer(conv_net), IMAGES)


def trainers(folder: Path) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            make_trainer().fit(X, Y, validation_split=0.25, progress=False)

    return run


def fits(folder: Path) -> Callable[[int], None]:
    trainer = make_trainer()

    def run(n: int) -> None:
        for _ in range(n):
            trainer.fit(X, Y, validation_data=(X, Y), callbacks=pn.EarlyStopping("val_loss"), progress=False)

    return run


def checkpoints(folder: Path) -> Callable[[int], None]:
    trainer = make_trainer(lambda: pn.Linear(8, 3))
    checkpoint = pn.ModelCheckpoint(folder / "run.safetensors", per="step")

    def run(n: int) -> None:
        trainer.fit(X[:n], Y[:n], batch_size=1, callbacks=checkpoint, progress=False)

    return run


def loads(folder: Path) -> Callable[[int], None]:
    trainer = make_trainer()
    trainer.fit(X, Y, progress=False)
    trainer.save(folder / "run.safetensors")

    def run(n: int) -> None:
        for _ in range(n):
            pn.load(folder / "run.safetensors").predict(X)
            trainer.load(folder / "run.safetensors")

    return run


def clusters(folder: Path) -> Callable[[int], None]:
    def run(n: int) -> None:
        for seed in range(n):
            pn.KMeans(4, max_iter=5, random_state=seed).fit(X)
            pn.PCA(2).fit(X)

    return run


LENGTHS: dict[str, tuple[int, int]] = {
    "steps": (1_000, 100_000),
    "conv_steps": (100, 2_000),
    "trainers": (50, 1_000),
    "fits": (50, 1_000),
    "checkpoints": (50, 500),
    "loads": (50, 1_000),
    "clusters": (50, 1_000),
}
"""Short and full number of steps, Trainers and so on."""


def check(name: str, length: int, folder: Path) -> None:
    run = globals()[name](folder)
    found: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        run(length // ROUNDS)
        found.append(usage())
    before, after = found[2], found[-1]
    print(f"{name} {length}: {before} -> {after}", file=sys.__stderr__)
    assert after["MiB"] - before["MiB"] <= MAX_MIB, found
    assert after["objects"] - before["objects"] <= MAX_OBJECTS, found
    for what in ("files", "threads", "Python threads"):
        assert after[what] <= before[what], found


@needs_proc
@pytest.mark.parametrize("name", LENGTHS)
@isolated(PORTANET_NUM_THREADS="2")
def test_a_run_does_not_grow(name: str, tmp_path: str) -> None:
    check(name, LENGTHS[name][0], Path(tmp_path))


@needs_proc
@pytest.mark.job
@pytest.mark.parametrize("name", LENGTHS)
@isolated(seconds=1500, PORTANET_NUM_THREADS="2")
def test_a_long_run_does_not_grow(name: str, tmp_path: str) -> None:
    check(name, LENGTHS[name][1], Path(tmp_path))
