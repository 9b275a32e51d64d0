"""Training: :class:`Trainer`, its history, and callbacks."""

from portanet.training.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    ReduceLROnPlateau,
    WeightAveraging,
)
from portanet.training.checkpoint import ModelCheckpoint
from portanet.training.divergence import Diverged
from portanet.training.history import History
from portanet.training.loggers import CSVLogger, JSONLogger, TensorBoard
from portanet.training.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Diverged",
    "EarlyStopping",
    "History",
    "JSONLogger",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "Trainer",
    "WeightAveraging",
]
