"""
Handwritten digits
==================

The first network of most readers: 8x8 images of digits, one hidden layer, a few seconds of training.
"""

# %%
# The data
# --------
# Images have the shape (N, height, width, channels), and labels are integers.

import numpy as np

import portanet as pn

data = pn.datasets.load("digits")
print(data)
pn.plots.image_grid(data.x_train[:20], columns=10, title="training images")

# %%
# The network
# -----------
# ``Flatten`` makes a row of 64 pixels of each image. The last layer has one output for each class: the logits.

net = pn.Sequential(pn.Flatten(), pn.Linear(64, 128), pn.ReLU(), pn.Dropout(0.3), pn.Linear(128, 10))
net.summary((8, 8, 1))

# %%
# Training
# --------
# The Trainer joins the network, a loss and an optimizer. A tenth of the training set is held out to watch the training.

trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(lr=3e-3), metrics="accuracy")
history = trainer.fit(data.x_train, data.y_train, epochs=40, validation_split=0.1, progress=False)
pn.plots.training_curves(history, title="digits")

# %%
# What it confuses
# ----------------
# Rows are true digits, columns are predictions.

prediction = trainer.predict(data.x_test).argmax(axis=1)
counts = pn.confusion_matrix(y_true=data.y_test, y_pred=prediction, n_classes=10)
pn.plots.confusion_matrix(counts, data.classes, title="test set")

# %%
# These are the images that it got wrong.

wrong = np.flatnonzero(prediction != data.y_test)[:10]
captions = [f"{data.y_test[i]} read as {prediction[i]}" for i in wrong]
pn.plots.image_grid(data.x_test[wrong], columns=5, captions=captions, title="mistakes")

# %%
# The test set was used neither for training nor to choose settings, so its accuracy is that of new images.

print(f"test accuracy: {trainer.evaluate(data.x_test, data.y_test)['accuracy']:.3f}")
