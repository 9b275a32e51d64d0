"""Define, run, record and report experiments."""

from experiments.runner.classifier import classify
from experiments.runner.course import train_with_optim
from experiments.runner.record import Experiment, Reported, at_least, at_most, discover, experiment
from experiments.runner.results import Study, run_study
from experiments.runner.run import Figures, Run

__all__ = [
    "Experiment",
    "Figures",
    "Reported",
    "Run",
    "Study",
    "at_least",
    "at_most",
    "classify",
    "discover",
    "experiment",
    "run_study",
    "train_with_optim",
]
