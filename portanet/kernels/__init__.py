"""Kernels in pure Array API form: they run on any backend, and each override of a backend is tested against them."""

from portanet.kernels.attention import attention
from portanet.kernels.batches import gather_batch, write_metrics
from portanet.kernels.bias import bias_add, bias_grad
from portanet.kernels.clusters import cluster_sums, nearest_centres
from portanet.kernels.conv import conv, conv_input_gradient, conv_vjp, conv_weight_gradient
from portanet.kernels.conv_block import conv_block
from portanet.kernels.dense import dense, dense_gradient
from portanet.kernels.dispatch import kernel
from portanet.kernels.distances import squared_distances, sum_of_squares
from portanet.kernels.elementwise import elementwise, mean_elementwise
from portanet.kernels.embedding import embedding_gradient
from portanet.kernels.labels import accuracy, one_hot
from portanet.kernels.normalize import normalize, normalize_gradient
from portanet.kernels.pooling import max_pool, max_pool_gradient, sum_pool, sum_pool_gradient
from portanet.kernels.products import linear, matmul_into
from portanet.kernels.random import advance_stream, dropout, normal, random_bits
from portanet.kernels.recurrence import recurrence
from portanet.kernels.sampling import warp, warp_gradient
from portanet.kernels.softmax import (
    log_softmax,
    log_softmax_gradient,
    mean_cross_entropy,
    softmax,
    softmax_gradient,
    sparse_softmax_cross_entropy,
)
from portanet.kernels.special import erf, erfcx, sigmoid
from portanet.kernels.updates import (
    adadelta,
    adagrad,
    adam,
    adamax,
    add_scaled,
    amsgrad,
    lbfgs,
    lion,
    nadam,
    norm,
    radam,
    rmsprop,
    sgd,
)

__all__ = [
    "accuracy",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "add_scaled",
    "advance_stream",
    "amsgrad",
    "attention",
    "bias_add",
    "bias_grad",
    "cluster_sums",
    "conv",
    "conv_block",
    "conv_input_gradient",
    "conv_vjp",
    "conv_weight_gradient",
    "dense",
    "dense_gradient",
    "dropout",
    "elementwise",
    "embedding_gradient",
    "erf",
    "erfcx",
    "gather_batch",
    "kernel",
    "lbfgs",
    "linear",
    "lion",
    "log_softmax",
    "log_softmax_gradient",
    "matmul_into",
    "max_pool",
    "max_pool_gradient",
    "mean_cross_entropy",
    "mean_elementwise",
    "nadam",
    "nearest_centres",
    "norm",
    "normal",
    "normalize",
    "normalize_gradient",
    "one_hot",
    "radam",
    "random_bits",
    "recurrence",
    "rmsprop",
    "sgd",
    "sigmoid",
    "softmax",
    "softmax_gradient",
    "sparse_softmax_cross_entropy",
    "squared_distances",
    "sum_of_squares",
    "sum_pool",
    "sum_pool_gradient",
    "warp",
    "warp_gradient",
    "write_metrics",
]
