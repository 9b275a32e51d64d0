"""Kernels in pure Array API form: what runs on any backend, and what a backend's tuned forms are tested against."""

from portanet.kernels.clusters import cluster_sums
from portanet.kernels.conv import conv, conv_input_gradient, conv_weight_gradient
from portanet.kernels.dispatch import kernel
from portanet.kernels.distances import squared_distances
from portanet.kernels.labels import one_hot
from portanet.kernels.pooling import max_pool, max_pool_gradient, sum_pool, sum_pool_gradient
from portanet.kernels.random import normal, random_bits
from portanet.kernels.softmax import log_softmax
from portanet.kernels.special import erf, sigmoid

__all__ = [
    "cluster_sums",
    "conv",
    "conv_input_gradient",
    "conv_weight_gradient",
    "erf",
    "kernel",
    "log_softmax",
    "max_pool",
    "max_pool_gradient",
    "normal",
    "one_hot",
    "random_bits",
    "sigmoid",
    "squared_distances",
    "sum_pool",
    "sum_pool_gradient",
]
