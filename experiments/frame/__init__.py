"""What experiments are made with: a record, a run, its results, and the training that many share."""

from experiments.frame.classifier import classify
from experiments.frame.course import descend
from experiments.frame.record import Experiment, Reported, at_least, at_most, discover, experiment
from experiments.frame.results import Study, run_study
from experiments.frame.run import Figures, Run

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
