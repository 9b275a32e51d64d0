"""What experiments are made with: a record, a run, and the training that most of them share."""

from experiments.frame.classifier import classify
from experiments.frame.record import Experiment, Reported, at_least, at_most, discover, experiment
from experiments.frame.results import carry_out
from experiments.frame.run import Figures, Run

__all__ = [
    "Experiment",
    "Figures",
    "Reported",
    "Run",
    "at_least",
    "at_most",
    "carry_out",
    "classify",
    "discover",
    "experiment",
]
