"""
Networks and weights of PyTorch, in both directions.

PyTorch is imported when a function is called: ``pip install torch``.
"""

from portanet.interop.from_torch import from_torch
from portanet.interop.to_torch import load_state_dict, to_torch

__all__ = ["from_torch", "load_state_dict", "to_torch"]
