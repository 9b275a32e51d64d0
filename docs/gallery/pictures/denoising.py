"""
Denoising
=========

An auto-encoder that is given noisy images and must draw the clean ones learns what a digit looks like.
"""

# %%
# ``GaussianNoise`` adds new noise to each batch, in training only. The target is the clean image.

import numpy as np

import portanet as pn

data = pn.datasets.load("digits")
net = pn.Sequential(
    pn.GaussianNoise(0.3),
    *(pn.Flatten(), pn.Linear(64, 128), pn.ReLU(), pn.Linear(128, 24), pn.ReLU()),
    *(pn.Linear(24, 128), pn.ReLU(), pn.Linear(128, 64), pn.Sigmoid(), pn.Reshape(8, 8, 1)),
)
trainer = pn.Trainer(net, pn.BCELoss(), pn.Adam(lr=2e-3))
trainer.fit(data.x_train, data.x_train, epochs=120, progress=False)

# %%
# Test images with noise
# ----------------------
# At inference the noise layer does nothing, so the noise of the test images is added by hand.

rng = np.random.default_rng(0)
noisy = np.clip(data.x_test + 0.3 * rng.normal(size=data.x_test.shape), 0, 1).astype("float32")
clean = trainer.predict(noisy)
images = np.concatenate([data.x_test[:10], noisy[:10], clean[:10]])
pn.plots.image_grid(images, rows=["original", "noisy", "denoised"], title="test images, noise of deviation 0.3")

# %%
# How much better?
# ----------------
# The peak signal-to-noise ratio (PSNR) is in decibels; 10 more mean a tenth of the squared error. The network helps as
# long as there is noise. Of clean images, it makes slightly worse ones.

levels = np.linspace(0, 0.5, 6)
before, after = [], []
for level in levels:
    noisy = np.clip(data.x_test + level * rng.normal(size=data.x_test.shape), 0, 1).astype("float32")
    before.append(float(pn.psnr(noisy, data.x_test)) if level else np.nan)
    after.append(float(pn.psnr(trainer.predict(noisy), data.x_test)))
pn.plots.curves(levels, {"PSNR in decibels": {"noisy": before, "denoised": after}}, xlabel="deviation of the noise")

# %%

print(f"at 0.3: {before[3]:.1f} dB before, {after[3]:.1f} dB after")
