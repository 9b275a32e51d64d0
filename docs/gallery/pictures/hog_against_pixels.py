"""
HOG against pixels
==================

Before networks learnt their features, people made them. A histogram of oriented gradients (HOG) says which way the
strokes run in each cell of an image. Does a dense network do better with it?
"""

# %%
# scikit-image computes the histograms: here eight directions in each cell of 4x4 pixels.

import os

import numpy as np
from skimage.feature import hog

import portanet as pn

data = pn.datasets.load("mnist" if "PORTANET_DATA" in os.environ else "digits")
print(data)
x_train, y_train, x_test, y_test = data.x_train[:6000], data.y_train[:6000], data.x_test[:2000], data.y_test[:2000]


def histograms(images: np.ndarray) -> np.ndarray:
    options = {"pixels_per_cell": (4, 4), "cells_per_block": (1, 1), "block_norm": "L1-sqrt", "channel_axis": -1}
    return np.stack([hog(image, 8, **options) for image in images]).astype("float32")


_, drawing = hog(x_train[0], 8, pixels_per_cell=(4, 4), cells_per_block=(1, 1), channel_axis=-1, visualize=True)
images = np.stack([x_train[0, ..., 0], drawing / drawing.max()])[..., None]
pn.plots.image_grid(images, columns=2, captions=["pixels", "HOG"])

# %%
# The same network on both
# ------------------------
# Only the length of the input differs. On MNIST, the histograms need fewer examples: they say from the start which way
# the strokes run, and a network on pixels must learn it. An 8x8 digit has only four cells, and there pixels are better.

inputs = {
    "pixels": (x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)),
    "HOG": (histograms(x_train), histograms(x_test)),
}
sizes = [100, 300, 1000, len(x_train)]
accuracy: dict[str, list[float]] = {name: [] for name in inputs}
for name, (x, x_unseen) in inputs.items():
    for size in sizes:
        net = pn.Sequential(pn.Linear(100), pn.ReLU(), pn.Dropout(0.3), pn.Linear(10))
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy")
        trainer.fit(x[:size], y_train[:size], epochs=10 + 3000 // size, progress=False)
        accuracy[name].append(trainer.evaluate(x_unseen, y_test)["accuracy"])
pn.plots.curves(sizes, {"test accuracy": accuracy}, xlabel="training examples", log="x")

# %%
# With all 60,000 images of MNIST, both end near 98 %: see the page of report 004.

print("numbers for each image:", {name: x.shape[1] for name, (x, _) in inputs.items()})
print("test accuracy:", {name: round(values[-1], 4) for name, values in accuracy.items()})
