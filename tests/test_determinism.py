"""What docs/howto/reproducibility.md says of results that are equal to the bit, or up to rounding."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends import Backend
from portanet.backends.numpy import core
from tests.deterministic_runs import CASES, NETWORKS, digest
from tests.isolated import isolated
from tests.test_processes import forks_allowed

NEEDS_BLAS = {"kmeans", "pca"}
"""Cases whose products of matrices are those of NumPy's BLAS."""


def in_process(*names: str, **environment: str) -> dict[str, str]:
    """Return the hashes of cases, computed in a fresh process."""
    command = [sys.executable, "-W", "error", "-m", "tests.deterministic_runs", *names]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return in_process(PYTHONHASHSEED="0")


def test_another_process_and_hash_seed_change_no_bit(expected: dict[str, str]) -> None:
    assert in_process(PYTHONHASHSEED="123") == expected


def test_what_ran_before_changes_no_bit(expected: dict[str, str]) -> None:
    """Other training, other random numbers, and the cases in another order."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  of other libraries
    pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), pn.SGD(0.1)).fit(np.ones((9, 2)), np.ones((9, 1)), progress=False)
    for name in reversed(CASES):
        assert digest(name) == expected[name], name


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@isolated()
def test_a_child_process_changes_no_bit(method: str) -> None:
    names = ["dense", "batch norm, clipped", "dropout", "kmeans"]
    with forks_allowed(), multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(digest, names) == list(map(digest, names))


@pytest.mark.skipif(core.compiled is None, reason="the compiled kernels are not in use")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_number_of_threads_changes_no_bit(expected: dict[str, str], threads: str) -> None:
    """Neither that of the compiled kernels, nor that of NumPy's BLAS, which takes it from the same variable."""
    names = CASES.keys() - NEEDS_BLAS
    found = in_process(*names, OMP_NUM_THREADS=threads, PORTANET_NUM_THREADS=threads)
    assert found == {name: expected[name] for name in names}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_threads_of_blas_change_no_norm(dtype: str) -> None:
    """Gradient clipping divides by it; BLAS alone gives another last bit from 10,001 float64 numbers on."""
    limits = pytest.importorskip("threadpoolctl", reason="threadpoolctl sets the threads of BLAS").threadpool_limits
    rng = np.random.default_rng(0)
    for n in (100, 8192, 10_001, 300_000):
        x, norms = rng.normal(size=n).astype(dtype), []
        for threads in (1, 2):
            with limits(threads, "blas"):
                norms.append(kernels.norm(x))
        assert norms[0].tobytes() == norms[1].tobytes()
        np.testing.assert_allclose(norms[0], np.linalg.norm(x.astype("float64")), rtol=1e-6)


TOLERANCE = 1e-5
"""Largest difference of weights after two epochs, over the largest weight, between the array libraries."""


def weights_after_two_epochs(device: str | Backend) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(48, 10)).astype("float32"), rng.integers(3, size=48)
    net = pn.Sequential(pn.Linear(10, 24), pn.BatchNorm(24), pn.TanH(), pn.Dropout(0.2), pn.Linear(24, 3))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1, momentum=0.9, clip_norm=1.0), device=device, seed=3)
    trainer.fit(x, y, epochs=2, batch_size=20, progress=False)
    return net.get_weights()


def test_another_array_library_changes_weights_by_rounding_alone(backend: Backend) -> None:
    """The order of examples, the first weights and the masks of dropout are the same: others would differ by far."""
    found, expected = weights_after_two_epochs(backend), weights_after_two_epochs("cpu")
    largest = max(np.abs(expected[name]).max() for name in expected if name.endswith(("weight", "bias")))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE * largest, err_msg=name)


def test_other_networks_and_other_seeds_change_the_results() -> None:
    """Otherwise the comparisons above would compare nothing."""
    assert len({digest(name) for name in NETWORKS}) == len(NETWORKS)

    def weights(seed: int) -> Any:
        trainer = pn.Trainer(pn.Linear(3, 2), pn.MSELoss(), pn.SGD(0.1), seed=seed)
        trainer.fit(np.eye(3), np.ones((3, 2)), progress=False)
        return trainer.net.get_weights()["weight"]

    assert not np.array_equal(weights(0), weights(1))
