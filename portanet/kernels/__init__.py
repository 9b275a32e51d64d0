"""Kernels in pure Array API form: what runs on any backend, and what a backend's tuned forms are tested against."""

from portanet.kernels.batches import note, take_batch
from portanet.kernels.chain import chain, chain_forward
from portanet.kernels.channels import add_to_channels, channel_sums
from portanet.kernels.clusters import cluster_sums
from portanet.kernels.conv import conv, conv_input_gradient, conv_weight_gradient
from portanet.kernels.curves import curve
from portanet.kernels.dispatch import kernel
from portanet.kernels.distances import squared_distances
from portanet.kernels.labels import one_hot
from portanet.kernels.pooling import max_pool, max_pool_gradient, sum_pool, sum_pool_gradient
from portanet.kernels.products import batch_product, matmul_into
from portanet.kernels.random import normal, random_bits
from portanet.kernels.softmax import label_cross_entropy, log_softmax
from portanet.kernels.special import erf, sigmoid
from portanet.kernels.updates import adam, rmsprop, sgd

__all__ = [
    "adam",
    "add_to_channels",
    "batch_product",
    "chain",
    "chain_forward",
    "channel_sums",
    "cluster_sums",
    "conv",
    "conv_input_gradient",
    "conv_weight_gradient",
    "curve",
    "erf",
    "kernel",
    "label_cross_entropy",
    "log_softmax",
    "matmul_into",
    "max_pool",
    "max_pool_gradient",
    "normal",
    "note",
    "one_hot",
    "random_bits",
    "rmsprop",
    "sgd",
    "sigmoid",
    "squared_distances",
    "sum_pool",
    "sum_pool_gradient",
    "take_batch",
]
