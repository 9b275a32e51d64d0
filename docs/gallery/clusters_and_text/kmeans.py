"""
k-means and purity
==================

k-means finds groups without labels. Purity says how well the groups agree with the digits.
"""

# %%
# Ten clusters of images, each a point with 64 coordinates. ``n_init`` starts several times and keeps the best run.

import numpy as np

import portanet as pn

data = pn.datasets.load("digits")
x = data.x_train.reshape(-1, 64)
kmeans = pn.KMeans(10, n_init=4).fit(x)
digits = pn.majority_labels(kmeans.labels_, data.y_train, 10)  # the most frequent digit of each cluster
order = np.argsort(digits)
counts = np.bincount(kmeans.labels_, minlength=10)[order]
captions = [f"{digit}: {count} images" for digit, count in zip(digits[order], counts, strict=True)]
pn.plots.image_grid(kmeans.cluster_centers_[order].reshape(10, 8, 8, 1), columns=5, captions=captions, title="centres")

# %%
# Each step moves the centres to the mean of their images, and the sum of squared distances falls.

pn.plots.curves(np.arange(len(kmeans.cost_history_)), {"inertia": {"": kmeans.cost_history_}}, xlabel="iteration")

# %%
# Purity
# ------
# The share of images that have the most frequent digit of their cluster. It grows with the number of clusters: with one
# cluster for each image it would be 1. So compare only equal numbers.

sizes = [5, 10, 20, 40, 80]
purity = [float(pn.cluster_purity(pn.KMeans(k).fit(x).labels_, data.y_train)) for k in sizes]
pn.plots.curves(sizes, {"purity": {"": purity}}, xlabel="clusters")

# %%
# Clusters as a classifier
# ------------------------
# Give each cluster its most frequent digit, and new images the digit of the nearest centre.

accuracy = float(np.mean(digits[kmeans.predict(data.x_test.reshape(-1, 64))] == data.y_test))
purity = float(pn.cluster_purity(kmeans.labels_, data.y_train))
print(f"purity of the clusters: {purity:.3f}; accuracy on the test set: {accuracy:.3f}")
