"""NumPy on the CPU: device "cpu"."""

import platform
from operator import attrgetter
from types import ModuleType

import numpy as np
from array_api_compat import numpy as standard

from portanet.backends import lanes, numpy_conv, numpy_kernels, numpy_pooling
from portanet.backends.base import Backend, refuse_ordinal
from portanet.backends.process import Activity, keep_memory


def load(ordinal: str | None = None) -> Backend:
    """The CPU; it has no ordinal."""
    refuse_ordinal("cpu", ordinal)
    keep_memory()
    xp = ModuleType("portanet.backends.numpy_xp")
    # array-api-compat fills what older NumPy lacks; its wrappers of these three add 0.3 to 0.6 µs for no gain here.
    vars(xp).update(vars(standard))
    vars(xp).update(matmul=np.matmul, matrix_transpose=attrgetter("mT"), permute_dims=np.permute_dims)
    return Backend(
        name="cpu",
        xp=xp,
        array_type=np.ndarray,
        device="cpu",
        to_numpy=np.asarray,
        description=f"NumPy {np.__version__} on {platform.machine()}",
        activate=Activity,
        kernels={
            function.__name__: function
            for function in (
                lanes.chain,
                lanes.chain_forward,
                numpy_conv.conv,
                numpy_conv.conv_input_gradient,
                numpy_conv.conv_weight_gradient,
                numpy_kernels.adam,
                numpy_kernels.add_to_channels,
                numpy_kernels.channel_sums,
                numpy_kernels.label_cross_entropy,
                numpy_kernels.matmul_into,
                numpy_kernels.random_bits,
                numpy_kernels.sigmoid,
                numpy_pooling.max_pool,
                numpy_pooling.max_pool_gradient,
                numpy_pooling.sum_pool,
                numpy_pooling.sum_pool_gradient,
            )
        },
    )
