"""
Optimizers: how gradients change the weights.

An optimizer is bound to a network's flat parameters; its state is arrays of the same shape, and a step is a handful of
operations on whole arrays. Everything that changes stays on the device: the learning rate is a 0-d array, and so are
step counters, so that a recorded step sees new values.
"""

from typing import TYPE_CHECKING, Any

from portanet.names import unknown_name
from portanet.optimizers.adagrad import Adadelta, Adagrad
from portanet.optimizers.adam import Adam, Adamax, AdamW, NAdam, RAdam
from portanet.optimizers.base import Optimizer, ParameterGroup
from portanet.optimizers.lbfgs import LBFGS
from portanet.optimizers.lion import Lion
from portanet.optimizers.rmsprop import RMSprop
from portanet.optimizers.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "ParameterGroup",
    "RAdam",
    "RMSprop",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        raise unknown_name(__name__, name, __all__)
