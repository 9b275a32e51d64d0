"""
What a convolutional network looks at
=====================================

The filters of the first layer show what a network looks for. The gradient of a score with respect to the pixels, the
saliency map, shows where it looked.
"""

# %%
# A small convolutional network. Sizes that are not given are taken from the data.

import os

import numpy as np

import portanet as pn

data = pn.datasets.load("mnist" if "PORTANET_DATA" in os.environ else "digits")
print(data)
net = pn.Sequential(
    *(pn.Conv2D(16, 5, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Conv2D(32, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
    *(pn.Flatten(), pn.Linear(10)),
)
trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(lr=3e-3), metrics="accuracy")
trainer.fit(data.x_train[:12000], data.y_train[:12000], epochs=3, progress=False)

# %%
# Filters
# -------
# The weights of a convolution have the shape (height, width, input channels, output channels). Positive
# weights are dark.

filters = np.moveaxis(net[0].weight.data, -1, 0)
pn.plots.image_grid(filters / np.abs(filters).max() / 2 + 0.5, columns=8, title="the 16 filters of the first layer")

# %%
# Some filters answer to strokes of one direction, some to one side of a stroke.

maps = np.moveaxis(net[:2](data.x_test[:1])[0], -1, 0)[..., None]
pn.plots.image_grid(maps / maps.max(), columns=8, title="one digit after the first layer")

# %%
# Saliency
# --------
# ``vjp`` returns the output and a pullback. Given the one-hot vector of the predicted class, the pullback returns the
# gradient of the logit of that class with respect to the pixels. ``need_grads=False`` leaves out the gradients of the
# weights.

x = data.x_test[:10]
logits, pullback = net.vjp(x, train=False)
one_hot = pn.one_hot(logits.argmax(axis=1), 10).astype("float32")
saliency = np.abs(pullback(one_hot, need_grads=False))
saliency /= saliency.max(axis=(1, 2, 3), keepdims=True)
pn.plots.image_grid(
    np.concatenate([x, saliency]), rows=["image", "saliency"], title="pixels that change the score most"
)

# %%
# A check: for a small ε, the score of x + ε g is higher by about ε times the squared norm of the gradient g.

gradient = net.vjp(x, train=False)[1](one_hot, need_grads=False)
rise = ((net(x + 1e-3 * gradient) - logits) * one_hot).sum()
print("rise of the scores: measured / predicted =", round(float(rise / (1e-3 * (gradient**2).sum())), 2))
print(f"test accuracy: {trainer.evaluate(data.x_test, data.y_test)['accuracy']:.3f}")
