"""
An auto-encoder and its latent plane
====================================

An auto-encoder squeezes an image through a few numbers and draws it again. With two numbers, the code of each image is
a point of a plane, and the plane can be drawn.
"""

# %%
# The encoder makes two numbers of 64 pixels, and the decoder 64 pixels of two numbers. The target is the input itself,
# so ``fit`` needs no labels.

# sphinx_gallery_thumbnail_number = 3

import numpy as np

import portanet as pn

data = pn.datasets.load("digits")
encoder = pn.Sequential(
    pn.Flatten(),
    pn.Linear(64, 128),
    pn.ReLU(),
    pn.Linear(128, 64),
    pn.ReLU(),
    pn.Linear(64, 2),
)
decoder = pn.Sequential(
    pn.Linear(2, 64),
    pn.ReLU(),
    pn.Linear(64, 128),
    pn.ReLU(),
    pn.Linear(128, 64),
    pn.Sigmoid(),
    pn.Reshape(8, 8, 1),
)
net = pn.AutoEncoder(encoder, decoder)
trainer = pn.Trainer(net, pn.MSELoss(), pn.Adam(lr=3e-3))
history = trainer.fit(data.x_train, data.x_train, epochs=150, progress=False)
pn.plots.training_curves(history, title="reconstruction of the training images")

# %%
# What survives
# -------------
# Two numbers keep the kind of digit, and lose the hand of the writer.

x = data.x_test[:10]
pn.plots.image_grid(np.concatenate([x, net(x)]), rows=["input", "output"], title="64 pixels through 2 numbers")

# %%
# The plane
# ---------
# The network has never seen a label, and yet equal digits lie together.

codes = encoder.predict(data.x_test)
hit = float(pn.neighbourhood_hit(codes, data.y_test, 6))
pn.plots.scatter({f"codes, neighbourhood hit {hit:.2f}": (codes, data.y_test)}, data.classes)

# %%
# The decoder turns every point of the plane into an image. This grid covers the part of the plane where most codes lie.

x, y = np.percentile(codes, np.linspace(5, 95, 10), axis=0).T
grid = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2).astype("float32")
pn.plots.image_grid(decoder.predict(grid), title="decoded points of the plane")

# %%
# Principal components are the best linear plane.

plane = pn.PCA(2).fit(data.x_train.reshape(-1, 64))
linear = plane.inverse_transform(plane.transform(data.x_test.reshape(-1, 64)))
print("mean squared error of PCA:", round(float(np.mean((linear - data.x_test.reshape(-1, 64)) ** 2)), 4))
print("of the auto-encoder:", round(float(np.mean((net(data.x_test) - data.x_test) ** 2)), 4))
