"""Kernels in pure Array API form: what runs on any backend, and what a backend's tuned forms are tested against."""

from portanet.kernels.dispatch import kernel
from portanet.kernels.labels import one_hot
from portanet.kernels.random import random_bits
from portanet.kernels.softmax import log_softmax
from portanet.kernels.special import erf

__all__ = ["erf", "kernel", "log_softmax", "one_hot", "random_bits"]
