"""
Metrics of predictions and clusters, computed on the device of their arrays.

Metrics for training take ``(prediction, target)`` and return an array of shape (), left on the device. The attribute
``needs_all = True`` marks a metric that is not the mean of its values over batches, such as :func:`r2_score`: it must
be called once with all predictions.
"""

from portanet.metrics import classification, clustering, regression
from portanet.metrics.classification import *
from portanet.metrics.clustering import *
from portanet.metrics.regression import *

__all__: list[str] = []
__all__ += classification.__all__
__all__ += clustering.__all__
__all__ += regression.__all__
