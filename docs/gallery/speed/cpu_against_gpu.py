"""
CPU against GPU
===============

The same script is written for a CPU and for a GPU. This page shows the training steps that were measured, and where.
"""

# %%
# ``python -m bench peers`` writes one file for each machine. They are files of the repository, so run this page in a
# clone of it.

import json
from itertools import chain
from pathlib import Path

import portanet as pn

here = Path.cwd()
root = next(folder for folder in (here, *here.parents) if (folder / "bench" / "results").is_dir())
files = [json.loads(path.read_text()) for path in sorted((root / "bench" / "results").glob("peers-*.json"))]
machines = {file["machine"]["gpu"] or file["machine"]["cpu"]: file for file in files}
for name, file in machines.items():
    print(f"{name}: {len(file['networks'])} networks, measured on {file['date'][:10]}")
gpus = [name for name, file in machines.items() if file["machine"]["gpu"]]
print("GPUs measured:", ", ".join(gpus) or "none yet, so the figure shows CPUs alone")

# %%
# Time of a training step
# -----------------------
# Each point is a network, from the smallest to the largest step. A machine has points where it was measured.

times = {
    name: {id: row["tasks"]["step"]["portanet"]["seconds"] for id, row in file["networks"].items()}
    for name, file in machines.items()
}
slowest = {id: max(row.get(id, 0.0) for row in times.values()) for id in sorted({*chain(*times.values())})}
networks = sorted(slowest, key=lambda id: slowest[id])
panels = {"seconds": {name: [row.get(id, float("nan")) for id in networks] for name, row in times.items()}}
figure = pn.plots.curves(list(range(len(networks))), panels, title="training step", log="y")
figure.axes[0].set_xticks(range(len(networks)), networks, rotation=60, ha="right")
figure

# %%
# On a GPU of your own
# --------------------
# ``device="auto"`` takes CUDA where it works. The rest of a script stays as it is.

net = pn.Sequential(pn.Linear(784, 300), pn.ReLU(), pn.Linear(300, 10))
trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), device="auto")
print("this page was built on:", trainer.backend.name)
