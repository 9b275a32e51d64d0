"""
The boundary of a two-layer network
===================================

No straight line separates these points. One linear layer draws a line, and fails. Two layers with an activation between
them succeed.
"""

# %%
# Points inside a ring
# --------------------
# Class 1 lies inside a circle, class 0 around it.

# sphinx_gallery_thumbnail_number = 2

import numpy as np

import portanet as pn

rng = np.random.default_rng(0)
labels = np.repeat([1, 0], 150)
radius = np.where(labels == 1, 0.6, 1.6) + 0.2 * rng.normal(size=300)
angle = rng.uniform(0, 2 * np.pi, size=300)
x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype("float32")
y = labels[:, None].astype("float32")

# %%
# One layer
# ---------
# ``BCEWithLogitsLoss`` applies the sigmoid itself. So the network's output is a logit, and its boundary is at 0.


def train(net: pn.Sequential) -> pn.Trainer:
    trainer = pn.Trainer(net, pn.BCEWithLogitsLoss(), pn.Adam(lr=0.03), metrics="binary_accuracy")
    trainer.fit(x, y, epochs=60, progress=False)
    return trainer


line = pn.Sequential(pn.Linear(2, 1))
print(f"one layer: {train(line).evaluate(x, y)['binary_accuracy']:.3f} of the points are right")
pn.plots.decision_boundary(line.predict, x, labels, level=0.0, title="one linear layer")

# %%
# Two layers
# ----------
# Each of the eight hidden units is a smooth step across the plane, ``tanh(w·x + b)``, in a direction of its own. Their
# weighted sum can close around the inner class.

net = pn.Sequential(pn.Linear(2, 8), pn.TanH(), pn.Linear(8, 1))
trainer = train(net)
pn.plots.decision_boundary(net.predict, x, labels, level=0.0, title="two layers, 8 hidden units")

# %%
# Without ``TanH`` the two layers would be one linear map again, ``x W₁ W₂``: try it.

print(f"two layers: {trainer.evaluate(x, y)['binary_accuracy']:.3f} of the points are right")

# %%
# Two spirals
# -----------
# A boundary that winds needs more units, and a second hidden layer. The front page shows this picture.

labels = np.repeat([0, 1], 150)
angle = 2 * np.pi * np.sqrt(rng.uniform(0.02, 1, size=300))
turned = angle + np.pi * labels  # the second spiral is the first, turned by half a circle
x = np.stack([angle * np.cos(turned), angle * np.sin(turned)], axis=1) / 2
x = (x + 0.1 * rng.normal(size=x.shape)).astype("float32")
y = labels[:, None].astype("float32")

net = pn.Sequential(pn.Linear(2, 32), pn.TanH(), pn.Linear(32, 32), pn.TanH(), pn.Linear(32, 1))
trainer = pn.Trainer(net, pn.BCEWithLogitsLoss(), pn.Adam(lr=0.01), metrics="binary_accuracy")
trainer.fit(x, y, epochs=300, progress=False)
with_sigmoid = pn.Sequential(net, pn.Sigmoid())
pn.plots.decision_boundary(with_sigmoid.predict, x, labels, title="2-32-32-1 network, 300 epochs")

# %%
# The output of the sigmoid is the probability of class 1.

print(f"spirals: {trainer.evaluate(x, y)['binary_accuracy']:.3f} of the points are right")
