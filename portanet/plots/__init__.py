"""
Figures of training and of results, drawn with matplotlib.

matplotlib is imported when a figure is drawn, not with PortaNet.
"""

from portanet.plots.confusion import confusion_matrix
from portanet.plots.images import image_grid
from portanet.plots.lines import curves, training_curves
from portanet.plots.network import network
from portanet.plots.planes import decision_boundary, scatter

__all__ = ["confusion_matrix", "curves", "decision_boundary", "image_grid", "network", "scatter", "training_curves"]
