"""Layers, one file a family."""

from portanet.layers import activations, combine, conv, linear, norm, pooling, random, sequential, shape
from portanet.layers.activations import *
from portanet.layers.base import Layer
from portanet.layers.combine import *
from portanet.layers.conv import *
from portanet.layers.linear import *
from portanet.layers.norm import *
from portanet.layers.pooling import *
from portanet.layers.random import *
from portanet.layers.sequential import *
from portanet.layers.shape import *

__all__ = ["Layer"]
__all__ += activations.__all__
__all__ += combine.__all__
__all__ += conv.__all__
__all__ += linear.__all__
__all__ += norm.__all__
__all__ += pooling.__all__
__all__ += random.__all__
__all__ += sequential.__all__
__all__ += shape.__all__
