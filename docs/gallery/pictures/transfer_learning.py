"""
Transfer learning by freezing
=============================

A network that knows some digits is taught others from a few examples: its first layers stay as they are, and only a new
last layer is trained.
"""

# %%
# The first task: the digits 0 to 4, with all examples.

import os

import numpy as np

import portanet as pn

data = pn.datasets.load("mnist" if "PORTANET_DATA" in os.environ else "digits")
print(data)
old, old_test = np.flatnonzero(data.y_train < 5)[:10000], data.y_test < 5


def features() -> list[pn.Layer]:
    return [
        *(pn.Conv2D(16, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
        *(pn.Conv2D(32, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2), pn.Flatten()),
    ]


def train(layers: list[pn.Layer], x: np.ndarray, y: np.ndarray, epochs: int) -> pn.Trainer:
    net = pn.Sequential(*layers, pn.Linear(5))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(lr=3e-3), metrics="accuracy")
    trainer.fit(x, y, epochs=epochs, progress=False)
    return trainer


first = train(features(), data.x_train[old], data.y_train[old], epochs=3)
score = first.evaluate(data.x_test[old_test], data.y_test[old_test])["accuracy"]
print(f"digits 0 to 4: {score:.4f}")

# %%
# The second task: the digits 5 to 9
# ----------------------------------
# ``freeze`` excludes layers from training. A slice shares its layers with the network, so the trained ones are used as
# they are. A network from scratch is trained on the same few examples.

learnt = first.net[:-1].freeze()
new = data.y_train >= 5
x, y = data.x_train[new], data.y_train[new] - 5
x_test, y_test = data.x_test[~old_test][:2000], data.y_test[~old_test][:2000] - 5
shots = [1, 2, 5, 10, 20, 50]
accuracy: dict[str, list[float]] = {"frozen features": [], "from scratch": []}
for n in shots:
    chosen = np.concatenate([np.flatnonzero(y == label)[:n] for label in range(5)])
    for name, layers in {"frozen features": list(learnt), "from scratch": features()}.items():
        trainer = train(layers, x[chosen], y[chosen], epochs=50)
        accuracy[name].append(trainer.evaluate(x_test, y_test)["accuracy"])
pn.plots.curves(shots, {"test accuracy": accuracy}, xlabel="examples of each digit", log="x")

# %%
# On MNIST, the frozen features are ahead as long as there are few examples. With the 8x8 digits they are not: the first
# task has too few images to learn features that serve for others.
#
# The frozen layers did not change, so the first network still knows its digits.

print("unchanged:", first.evaluate(data.x_test[old_test], data.y_test[old_test])["accuracy"] == score)
for name, values in accuracy.items():
    print(f"{name}: {values[2]:.3f} with 5 examples of each digit, {values[-1]:.3f} with 50")
