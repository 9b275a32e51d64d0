"""
Optimizers: how gradients change the weights.

An optimizer is bound to a network's flat parameters; its state is arrays of the same shape, and a step is a handful of
operations on whole arrays. Everything that changes stays on the device: the learning rate is a 0-d array, and so are
step counters, so that a recorded step sees new values.
"""

from portanet.optimizers import adagrad, adam, base, rmsprop, sgd
from portanet.optimizers.adagrad import *
from portanet.optimizers.adam import *
from portanet.optimizers.base import *
from portanet.optimizers.rmsprop import *
from portanet.optimizers.sgd import *

__all__: list[str] = []
__all__ += adagrad.__all__
__all__ += adam.__all__
__all__ += base.__all__
__all__ += rmsprop.__all__
__all__ += sgd.__all__
