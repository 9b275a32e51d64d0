"""
Time to 99 % of MNIST
=====================

How long does it take from data in memory to a network that reads 99 % of unseen digits? The times on this page were
measured before; the network is trained again, for one epoch, to show the code.
"""

# %%
# The measured times, with the machine and the seeds. They are in the repository, so run this page in a clone of it.

import json
import os
from pathlib import Path

import portanet as pn

here = Path.cwd()
root = next(folder for folder in (here, *here.parents) if (folder / "experiments" / "results").is_dir())
result = json.loads((root / "experiments" / "results" / "mnist-99" / "result.json").read_text())
print(result["device"]["machine"])
print(result["what"])
for seed, accuracy, seconds in zip(
    result["seeds"], *(result["figures"][name]["each"] for name in ("test accuracy", "seconds")), strict=True
):
    print(f"seed {seed}: {accuracy:.4f} of the test set after {seconds:.2f} s")

# %%
# The network is small, and most of its work is in the first two layers.

data = pn.datasets.load("mnist" if "PORTANET_DATA" in os.environ else "digits")
print(data)
net = pn.Sequential(
    *(pn.Conv2D(8, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Conv2D(32, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Flatten(), pn.Linear(64), pn.ReLU(), pn.Linear(10)),
)

# %%
# One cycle
# ---------
# The learning rate rises to 0.005 and falls to almost nothing. This is why so few epochs suffice.

batch_size = 64
steps = -(-len(data.x_train) // batch_size)  # one epoch
schedule = pn.schedules.OneCycle(0.005, steps=steps)
pn.plots.curves(range(steps), {"learning rate": {"": [schedule(i) for i in range(steps)]}}, xlabel="step")

# %%

trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy")
cycle = pn.LearningRateScheduler(schedule)
trainer.fit(data.x_train, data.y_train, epochs=1, batch_size=batch_size, callbacks=[cycle], progress=False)
accuracy = trainer.evaluate(data.x_test, data.y_test)["accuracy"]
print(f"test accuracy after one epoch: {accuracy:.4f}")
