"""NumPy on the CPU: device "cpu"."""

import platform
from types import ModuleType

import numpy as np
from array_api_compat import numpy as standard

from portanet.backends import numpy_kernels
from portanet.backends.base import Backend, refuse_ordinal, silent_overflow


def load(ordinal: str | None = None) -> Backend:
    """The CPU; it has no ordinal."""
    refuse_ordinal("cpu", ordinal)
    xp = ModuleType("portanet.backends.numpy_xp")
    # array-api-compat fills what older NumPy lacks; its wrappers of these three add 0.3 to 0.6 µs for no gain here.
    vars(xp).update(vars(standard))
    vars(xp).update(matmul=np.matmul, matrix_transpose=np.matrix_transpose, permute_dims=np.permute_dims)
    return Backend(
        name="cpu",
        xp=xp,
        array_type=np.ndarray,
        device="cpu",
        to_numpy=np.asarray,
        description=f"NumPy {np.__version__} on {platform.machine()}",
        activate=silent_overflow,
        kernels={
            "conv": numpy_kernels.conv,
            "conv_input_gradient": numpy_kernels.conv_input_gradient,
            "conv_weight_gradient": numpy_kernels.conv_weight_gradient,
            "random_bits": numpy_kernels.random_bits,
            "sigmoid": numpy_kernels.sigmoid,
        },
    )
