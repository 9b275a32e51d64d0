"""Names of other libraries, for a message that says what they are called in PortaNet."""

from collections.abc import Iterable

ALIASES = {
    "Dense": "Linear",
    "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BatchNorm3d": "BatchNorm",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "InstanceNorm3d": "InstanceNorm",
    "RMSNormalization": "RMSNorm",
    "LayerNormalization": "LayerNorm",
    "Conv1DTranspose": "ConvTranspose1D",
    "Conv2DTranspose": "ConvTranspose2D",
    "Conv3DTranspose": "ConvTranspose3D",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "MaxPooling3D": "MaxPool3D",
    "AveragePooling1D": "AvgPool1D",
    "AveragePooling2D": "AvgPool2D",
    "AveragePooling3D": "AvgPool3D",
    "ZeroPad2d": "Pad",
    "ConstantPad2d": "Pad",
    "ReflectionPad2d": "Pad",
    "ReplicationPad2d": "Pad",
    "CircularPad2d": "Pad",
    "ZeroPadding1D": "Pad",
    "ZeroPadding2D": "Pad",
    "ZeroPadding3D": "Pad",
    "UpSampling1D": "Upsample",
    "UpSampling2D": "Upsample",
    "UpSampling3D": "Upsample",
    "GlobalAveragePooling2D": "GlobalAvgPool",
    "GlobalMaxPooling2D": "GlobalMaxPool",
    "Rescaling": "Rescale",
    "Normalization": "Normalize",
    "CrossEntropy": "CrossEntropyLoss",
    "MSE": "MSELoss",
    "MaxPool": "MaxPool2D",
    "AvgPool": "AvgPool2D",
    "GlobalAvgPool2D": "GlobalAvgPool",
    "GlobalMaxPool2D": "GlobalMaxPool",
    "AdaptiveAvgPool": "AdaptiveAvgPool2D",
    "AdaptiveMaxPool": "AdaptiveMaxPool2D",
    "BatchNorm2D": "BatchNorm",
    "Normalise": "Normalize",
    "CategoricalCrossentropy": "CrossEntropyLoss, which takes logits,",
    "SparseCategoricalCrossentropy": "CrossEntropyLoss, which takes logits,",
    "BinaryCrossentropy": "BCELoss",
    "MeanSquaredError": "MSELoss",
    "Huber": "HuberLoss",
    "KLDivergence": "KLDivLoss",
    "Poisson": "PoissonNLLLoss",
    "CategoricalHinge": "MultiMarginLoss",
    "SwapEMAWeights": "WeightAveraging",
    "AveragedModel": "WeightAveraging",
    "Module": "Layer",
    "Functional": "Graph",
    "Concat": "Concatenate",
}
"""PortaNet's names for names of Keras and PyTorch."""


def our_name(name: str, ours: Iterable[str]) -> str | None:
    """
    Return what a name of another library is called here, or None.

    Examples
    --------
    >>> our_name("Dense", []), our_name("Conv2d", ["Conv2D"]), our_name("Frobnicate", ["Conv2D"])
    ('Linear', 'Conv2D', None)
    """
    return ALIASES.get(name) or next((other for other in ours if other.lower() == name.lower()), None)
