"""The toys and the linear networks of source 000."""

from pathlib import Path

import numpy as np
import pytest

from experiments.runner.record import Experiment
from portanet.backends import Backend

pytest.importorskip("matplotlib", reason="experiments draw with matplotlib")

from experiments.runner import run_study
from experiments.s000_linear import many, one, two
from experiments.s000_toys import bce, sigmoid, softmax, tanh
from portanet import get_backend

EXPERIMENTS = [tanh, sigmoid, softmax, bce, one, two, many]

each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=[experiment.id for experiment in EXPERIMENTS])


@each_experiment
@pytest.mark.parametrize("seed", [0, 1, 2], ids="seed={}".format)
def test_reported_figures_are_met(experiment: Experiment, seed: int, tmp_path: Path) -> None:
    figures = run_study(experiment, get_backend("cpu"), tmp_path, seed=seed)["figures"]
    for name, reported in experiment.reported.items():
        assert figures[name]["met"] is (None if reported.better is None else True), (name, figures[name])


@each_experiment
def test_figures_are_the_same_on_every_device(experiment: Experiment, backend: Backend, tmp_path: Path) -> None:
    ours, cpu = (
        run_study(experiment, device, tmp_path, quick=True)["figures"] for device in (backend, get_backend("cpu"))
    )
    assert ours.keys() == cpu.keys()
    for name, figure in cpu.items():
        np.testing.assert_allclose(ours[name]["ours"], figure["ours"], rtol=1e-5, atol=1e-8, err_msg=name)


def test_bce_has_a_correct_gradient_and_beats_mse(tmp_path: Path) -> None:
    under_bce, under_mse = (
        run_study(experiment, get_backend("cpu"), tmp_path)["figures"] for experiment in (bce, softmax)
    )
    assert under_bce["accuracy"]["ours"] == 1
    assert under_bce["largest error of the gradient"]["ours"] < 1e-7
    distance = "largest distance from a target"
    assert under_bce[distance]["ours"] < under_mse[distance]["ours"]


@pytest.mark.parametrize("experiment", [one, two, many], ids=lambda experiment: experiment.id)
def test_linear_networks_converge_to_least_squares(experiment: Experiment, tmp_path: Path) -> None:
    figures = run_study(experiment, get_backend("cpu"), tmp_path)["figures"]
    assert figures["distance from least squares"]["ours"] < 1e-9
