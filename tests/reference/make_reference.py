"""
Compute every case with PyTorch, in float64, and keep the results next to this file::

    python -m tests.reference.make_reference

It is run when a case is added or changed; the tests then need no PyTorch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.reference.cases import CASES

if __name__ == "__main__":
    results: dict[str, Any] = {
        f"{case}/{name}": values for case in CASES for name, values in case.theirs(torch).items()
    }
    np.savez_compressed(Path(__file__).with_name("reference.npz"), **results)
    print(f"{len(results)} arrays of {len(CASES)} cases, from PyTorch {torch.__version__}")
