"""Names of other libraries, for a message that says what they are called in PortaNet."""

from collections.abc import Iterable

ALIASES = {
    "Dense": "Linear",
    "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "Conv1DTranspose": "ConvTranspose1D",
    "Conv2DTranspose": "ConvTranspose2D",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "AveragePooling1D": "AvgPool1D",
    "AveragePooling2D": "AvgPool2D",
    "GlobalAveragePooling2D": "GlobalAvgPool",
    "GlobalMaxPooling2D": "GlobalMaxPool",
    "Rescaling": "Normalize",
    "Normalization": "Normalize",
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
