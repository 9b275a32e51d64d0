"""
Losses: how far a prediction is from its target, and the gradient of that.

``loss(prediction, target)`` gives the value, ``loss.vjp(prediction, target)`` the value and its pullback. A loss class
is the formula of its unreduced terms and their derivative; :class:`Loss` weights and reduces them. Values are in nats
where there is a logarithm, else in squares or units of the prediction.
"""

from typing import TYPE_CHECKING, Any

from portanet.losses.base import Loss
from portanet.losses.classification import ClassificationLoss, CrossEntropyLoss, NLLLoss
from portanet.losses.elementwise import (
    BCELoss,
    BCEWithLogitsLoss,
    ElementwiseLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
)
from portanet.losses.likelihood import GaussianNLLLoss, PoissonNLLLoss
from portanet.losses.margin import HingeEmbeddingLoss, MultiMarginLoss, SoftMarginLoss
from portanet.losses.multi_output import MultiOutputLoss
from portanet.names import unknown_name

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "ClassificationLoss",
    "CrossEntropyLoss",
    "ElementwiseLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "MultiMarginLoss",
    "MultiOutputLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        raise unknown_name(__name__, name, __all__)
