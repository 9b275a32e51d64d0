"""
Two ranks under MPI
===================

``mpiexec`` starts one script as several processes, the ranks. Each computes the gradient of its part of a batch; the
gradients are added, and all ranks make the same step.
"""

# %%
# The script
# ----------
# It would be the same for one process, but for the batch size: each rank takes its share.

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import portanet as pn

SCRIPT = """
import json

import portanet as pn

data = pn.datasets.load("digits")
net = pn.Sequential(pn.Flatten(), pn.Linear(64, 64), pn.ReLU(), pn.Linear(64, 10))
trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(lr=3e-3), metrics="accuracy")
ranks = trainer.communicator
history = trainer.fit(data.x_train, data.y_train, epochs=20, batch_size=64 // ranks.size, progress=False)
accuracy = trainer.evaluate(data.x_test, data.y_test)["accuracy"]
if ranks.rank == 0:
    norm = float((net[1].weight.data ** 2).sum() ** 0.5)
    print(json.dumps({"loss": history["loss"], "test accuracy": accuracy, "norm of the weights": norm}))
"""

# %%
# One rank, then two
# ------------------
# ``pip install mpi4py mpich`` brings ``mpiexec``, beside Python.


def run(n_ranks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text(SCRIPT)
        command = [sys.executable, str(script)]
        if n_ranks > 1:
            mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"
            command = [mpiexec, "-n", str(n_ranks), *command]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


one, two = run(1), run(2)
epochs = range(1, len(one["loss"]) + 1)
pn.plots.curves(epochs, {"loss": {"one rank": one["loss"], "two ranks": two["loss"]}}, xlabel="epoch")

# %%
# The curves cover one another: both took the same batches of 64 examples in the same order, so they end at the same
# weights, up to the rounding of sums.

for n_ranks, result in ((1, one), (2, two)):
    print(f"ranks: {n_ranks}; accuracy {result['test accuracy']:.4f}; weights {result['norm of the weights']:.5f}")
