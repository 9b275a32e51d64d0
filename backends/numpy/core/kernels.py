"""
The compiled kernels behind the names of :mod:`portanet.kernels`.

The core raises ValueError for arrays that it does not take, before it changes any. Functions that run for small arrays
try it and fall back on the portable form; those that arrange the arrays first ask ``memory.is_supported``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from portanet.backends.numpy.core.attention import attention
from portanet.backends.numpy.core.bias import bias_add, bias_grad
from portanet.backends.numpy.core.clusters import cluster_sums, nearest_centres, sum_of_squares
from portanet.backends.numpy.core.conv import conv, conv_input_gradient, conv_weight_gradient
from portanet.backends.numpy.core.dense import dense, dense_gradient
from portanet.backends.numpy.core.elementwise import elementwise, mean_elementwise
from portanet.backends.numpy.core.normalize import normalize, normalize_gradient
from portanet.backends.numpy.core.pooling import max_pool, max_pool_gradient, sum_pool, sum_pool_gradient
from portanet.backends.numpy.core.products import linear, matmul_into
from portanet.backends.numpy.core.random import dropout, random_bits
from portanet.backends.numpy.core.recurrence import recurrence
from portanet.backends.numpy.core.softmax import (
    log_softmax,
    log_softmax_gradient,
    mean_cross_entropy,
    softmax,
    softmax_gradient,
    sparse_softmax_cross_entropy,
)
from portanet.backends.numpy.core.special import erfcx, sigmoid
from portanet.backends.numpy.core.updates import adagrad, adam, add_scaled, rmsprop, sgd

_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    adagrad,
    adam,
    add_scaled,
    attention,
    bias_add,
    bias_grad,
    cluster_sums,
    conv,
    conv_input_gradient,
    conv_weight_gradient,
    dense,
    dense_gradient,
    dropout,
    elementwise,
    erfcx,
    linear,
    log_softmax,
    log_softmax_gradient,
    matmul_into,
    max_pool,
    max_pool_gradient,
    mean_cross_entropy,
    mean_elementwise,
    nearest_centres,
    normalize,
    normalize_gradient,
    random_bits,
    recurrence,
    rmsprop,
    sgd,
    sigmoid,
    softmax,
    softmax_gradient,
    sparse_softmax_cross_entropy,
    sum_of_squares,
    sum_pool,
    sum_pool_gradient,
)

OVERRIDES: Mapping[str, Callable[..., Any]] = {function.__name__: function for function in _FUNCTIONS}
