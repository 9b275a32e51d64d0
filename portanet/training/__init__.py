"""Training: :class:`Trainer`, its history, and callbacks."""

from portanet.training import callbacks
from portanet.training.callbacks import *
from portanet.training.divergence import Diverged
from portanet.training.history import History
from portanet.training.trainer import Trainer

__all__ = ["Diverged", "History", "Trainer"]
__all__ += callbacks.__all__
