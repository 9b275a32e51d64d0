"""NumPy on the CPU: device "cpu"."""

import platform
from collections.abc import Callable
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import numpy as standard

from portanet.backends.base import Backend, refuse_ordinal
from portanet.backends.numpy import conv, kernels, pooling
from portanet.backends.numpy.core import compiled, set_num_threads, status
from portanet.backends.numpy.process import blas, compute_context, tune_malloc


def load(ordinal: str | None = None) -> Backend:
    """The CPU; it has no ordinal."""
    refuse_ordinal("cpu", ordinal)
    tune_malloc()
    xp = ModuleType("portanet.backends.numpy.xp")
    # array-api-compat fills what older NumPy lacks. Its wrappers, and NumPy's own, add 0.3 to 1.2 µs for no gain here.
    vars(xp).update(vars(standard))
    vars(xp).update(matmul=np.matmul, matrix_transpose=attrgetter("mT"), permute_dims=np.permute_dims)
    vars(xp).update(sum=kernels.reduce_sum, max=kernels.reduce_max, take=kernels.take)
    if compiled is not None:
        from portanet.backends.numpy.core.products import matmul

        vars(xp).update(matmul=matmul)
    return Backend(
        name="cpu",
        xp=xp,
        array_type=np.ndarray,
        device="cpu",
        to_numpy=np.asarray,
        description=f"NumPy {np.__version__} on {platform.machine()}; compiled kernels {status}",
        activate=compute_context,
        get_num_threads=blas.get_num_threads if compiled is None else compiled.get_num_threads,
        set_num_threads=blas.set_num_threads if compiled is None else set_num_threads,
        kernels=_kernels(),
    )


def _kernels() -> dict[str, Callable[..., Any]]:
    """Return the kernels that this backend overrides, by name."""
    functions: tuple[Callable[..., Any], ...] = (
        conv.conv,
        conv.conv_input_gradient,
        conv.conv_weight_gradient,
        kernels.adam,
        kernels.dropout,
        kernels.embedding_gradient,
        kernels.bias_add,
        kernels.linear,
        kernels.bias_grad,
        kernels.sparse_softmax_cross_entropy,
        kernels.matmul_into,
        kernels.norm,
        kernels.random_bits,
        kernels.rmsprop,
        kernels.sigmoid,
        pooling.max_pool_gradient,
        pooling.sum_pool,
        pooling.sum_pool_gradient,
    )
    overrides = {function.__name__: function for function in functions}
    if compiled is not None:
        from portanet.backends.numpy.core.kernels import OVERRIDES

        overrides |= OVERRIDES
    return overrides
