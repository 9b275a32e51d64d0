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

from importlib.util import find_spec
from typing import NoReturn

if find_spec("portanet.backends") is None:  # only in a clone, where backends/ lies beside this folder
    raise ImportError(
        "portanet is installed, but Python found its source folder in the current directory first: "
        "change to another directory, or install the clone with: pip install -e ."
    )

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
    get_num_threads,
    namespace,
    set_device,
    set_float32_matmul_precision,
    set_num_threads,
)
from portanet.cluster import KMeans
from portanet.datasets import one_hot
from portanet.decomposition import PCA
from portanet.files import FileFormatError
from portanet.layers import (
    ELU,
    GELU,
    Activation,
    AutoEncoder,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Conv3D,
    ConvTranspose1D,
    ConvTranspose2D,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool1D,
    MaxPool2D,
    Normalize,
    Parallel,
    RandomCrop,
    RandomFlip,
    RandomShift,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    SpatialDropout,
    TanH,
    Upsample,
)
from portanet.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    ClassificationLoss,
    CrossEntropyLoss,
    ElementwiseLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    NLLLoss,
)
from portanet.metrics import (
    accuracy,
    binary_accuracy,
    cluster_purity,
    confusion_matrix,
    majority_labels,
    mean_absolute_error,
    mean_squared_error,
    neighbourhood_hit,
    precision_recall_f1,
    psnr,
    r2_score,
    top_k_accuracy,
)
from portanet.names import our_name
from portanet.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, ParameterGroup, RMSprop
from portanet.parameters import Buffer, Parameter
from portanet.persistence import load
from portanet.training import (
    Callback,
    CSVLogger,
    Diverged,
    EarlyStopping,
    History,
    JSONLogger,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    Trainer,
)
from portanet.version import __version__

__all__ = [
    "ELU",
    "GELU",
    "PCA",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "AutoEncoder",
    "AvgPool1D",
    "AvgPool2D",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BackendUnavailable",
    "BatchNorm",
    "Buffer",
    "CSVLogger",
    "Callback",
    "ClassificationLoss",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "CrossEntropyLoss",
    "Diverged",
    "Dropout",
    "EarlyStopping",
    "ElementwiseLoss",
    "FileFormatError",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "History",
    "HuberLoss",
    "JSONLogger",
    "KMeans",
    "L1Loss",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LearningRateScheduler",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MaxPool1D",
    "MaxPool2D",
    "ModelCheckpoint",
    "NLLLoss",
    "Normalize",
    "Optimizer",
    "OutOfMemory",
    "Parallel",
    "Parameter",
    "ParameterGroup",
    "RMSprop",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "ReLU",
    "ReduceLROnPlateau",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpatialDropout",
    "TanH",
    "TensorBoard",
    "Trainer",
    "Upsample",
    "__version__",
    "accuracy",
    "binary_accuracy",
    "cluster_purity",
    "confusion_matrix",
    "course",
    "datasets",
    "default_device",
    "devices",
    "engine",
    "get_backend",
    "get_num_threads",
    "initializers",
    "layers",
    "load",
    "losses",
    "majority_labels",
    "mean_absolute_error",
    "mean_squared_error",
    "metrics",
    "namespace",
    "neighbourhood_hit",
    "one_hot",
    "optimizers",
    "plots",
    "precision_recall_f1",
    "psnr",
    "r2_score",
    "schedules",
    "set_device",
    "set_float32_matmul_precision",
    "set_num_threads",
    "testing",
    "top_k_accuracy",
    "training",
]


def __getattr__(name: str) -> NoReturn:
    ours = our_name(name, __all__)
    hint = f": it is called {ours} here" if ours else ""
    raise AttributeError(f"module 'portanet' has no attribute {name!r}{hint}", name=name)
