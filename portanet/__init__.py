"""
PortaNet: neural networks written once against the Array API, on NumPy or on a CUDA GPU.

>>> net = Sequential(Linear(64, 32), ReLU(), Linear(32, 10))
>>> trainer = Trainer(net, SoftmaxCrossEntropy(), Adam(), metrics=[accuracy])
>>> data = datasets.load("digits")
>>> x, labels = data.x_train.reshape(-1, 64), data.y_train
>>> history = trainer.fit(x, labels, epochs=20, progress=False)
>>> history["accuracy"][-1] > 0.95
True
"""

from portanet import datasets, initializers, kernels, losses, metrics, optimizers, plots, schedules, testing
from portanet.backends import BackendUnavailable, default_device, devices, get_backend, set_device
from portanet.callbacks import Callback, CSVLogger, EarlyStopping, LearningRate, ReduceOnPlateau
from portanet.history import History
from portanet.layers import (
    ELU,
    GELU,
    Activation,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    TanH,
)
from portanet.losses import (
    BCE,
    L1,
    BCEWithLogits,
    CrossEntropy,
    Huber,
    LogSoftmaxCrossEntropy,
    Loss,
    MSELoss,
    SoftmaxCrossEntropy,
)
from portanet.metrics import accuracy, binary_accuracy, confusion_matrix, precision_recall_f1, top_k_accuracy
from portanet.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from portanet.parameters import Parameter, State
from portanet.persistence import load
from portanet.training import Diverged, Trainer
from portanet.version import __version__

__all__ = [
    "BCE",
    "ELU",
    "GELU",
    "L1",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "BCEWithLogits",
    "BackendUnavailable",
    "CSVLogger",
    "Callback",
    "CrossEntropy",
    "Diverged",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "History",
    "Huber",
    "Layer",
    "LeakyReLU",
    "LearningRate",
    "Linear",
    "LogSoftmax",
    "LogSoftmaxCrossEntropy",
    "Loss",
    "MSELoss",
    "Optimizer",
    "Parameter",
    "RMSprop",
    "ReLU",
    "ReduceOnPlateau",
    "Reshape",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "State",
    "TanH",
    "Trainer",
    "__version__",
    "accuracy",
    "binary_accuracy",
    "confusion_matrix",
    "datasets",
    "default_device",
    "devices",
    "get_backend",
    "initializers",
    "kernels",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "precision_recall_f1",
    "schedules",
    "set_device",
    "testing",
    "top_k_accuracy",
]
