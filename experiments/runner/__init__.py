"""What experiments are made with: a record, a run, its results, and the training that many share."""

from experiments.runner.classifier import classify
from experiments.runner.course import descend
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
    "descend",
    "discover",
    "experiment",
    "run_study",
]
