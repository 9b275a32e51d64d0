"""
PortaNet: neural networks written once against the Array API, on NumPy or on a CUDA GPU.

>>> net = Sequential(Linear(64, 32), ReLU(), Linear(32, 10))
>>> trainer = Trainer(net, CrossEntropyLoss(), Adam(), metrics=["accuracy"])
>>> data = datasets.load("digits")
>>> x, labels = data.x_train.reshape(-1, 64), data.y_train
>>> history = trainer.fit(x, labels, epochs=20, progress=False)
>>> history["accuracy"][-1] > 0.95
True
"""

from portanet import (
    course,
    datasets,
    engine,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    plots,
    schedules,
    testing,
    training,
)
from portanet.backends import (
    BackendUnavailable,
    OutOfMemory,
    default_device,
    devices,
    get_backend,
    namespace,
    set_device,
    set_float32_matmul,
)
from portanet.cluster import KMeans
from portanet.datasets import one_hot
from portanet.decomposition import PCA
from portanet.layers import *
from portanet.losses import *
from portanet.metrics import *
from portanet.optimizers import *
from portanet.parameters import Buffer, Parameter
from portanet.persistence import load
from portanet.training import *
from portanet.version import __version__

__all__ = [
    "PCA",
    "BackendUnavailable",
    "Buffer",
    "KMeans",
    "OutOfMemory",
    "Parameter",
    "__version__",
    "course",
    "datasets",
    "default_device",
    "devices",
    "engine",
    "get_backend",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "namespace",
    "one_hot",
    "optimizers",
    "plots",
    "schedules",
    "set_device",
    "set_float32_matmul",
    "testing",
    "training",
]
__all__ += layers.__all__
__all__ += losses.__all__
__all__ += metrics.__all__
__all__ += optimizers.__all__
__all__ += training.__all__
