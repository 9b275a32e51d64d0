"""
LeNet
=====

The convolutional network of LeCun et al. (1998) in today's form: two convolutions with pooling, then dense layers.
"""

# %%
# Convolutions share their weights over all positions, and pooling halves the image. What a filter has learnt in one
# corner, it knows in every other.

import os

import numpy as np

import portanet as pn

data = pn.datasets.load("mnist" if "PORTANET_DATA" in os.environ else "digits")
print(data)
net = pn.Sequential(
    *(pn.Conv2D(6, 5, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Conv2D(16, 5, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Flatten(), pn.Linear(120), pn.ReLU(), pn.Linear(84), pn.ReLU(), pn.Linear(10)),
)
net.summary(data.x_train.shape[1:])

# %%
# A dense network for comparison
# ------------------------------
# On MNIST it has about as many parameters. But it does not know which pixels are neighbours.

dense = pn.Sequential(pn.Flatten(), pn.Linear(135), pn.ReLU(), pn.Linear(10))
dense.build(data.x_train.shape[1:])
print("parameters:", net.n_parameters, "and", dense.n_parameters)

# %%
# Training
# --------
# The same quick training for both: five epochs of 12,000 examples, or about as many steps where there are fewer. The
# learning rate rises and falls once.

x, y = data.x_train[:12000], data.y_train[:12000]
epochs, batch_size = 60_000 // len(x), 64
scores = {}
for name, model in {"LeNet": net, "dense": dense}.items():
    cycle = pn.LearningRateScheduler(pn.schedules.OneCycle(4e-3, steps=epochs * -(-len(x) // batch_size)))
    trainer = pn.Trainer(model, pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy")
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[cycle], progress=False)
    scores[name] = trainer.evaluate(data.x_test, data.y_test)["accuracy"]

# %%
# Convolutions know shifts
# ------------------------
# Test images rolled to the right, pixel by pixel: both networks suffer, the dense one more.

shifts = range(4)
moved = [np.roll(data.x_test, shift, axis=2) for shift in shifts]
accuracy = {
    name: [float(np.mean(model.predict(images).argmax(axis=1) == data.y_test)) for images in moved]
    for name, model in {"LeNet": net, "dense": dense}.items()
}
pn.plots.curves(list(shifts), {"test accuracy": accuracy}, xlabel="shift in pixels")

# %%

print("test accuracy:", {name: round(score, 4) for name, score in scores.items()})
