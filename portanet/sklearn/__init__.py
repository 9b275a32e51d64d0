"""
Estimators of scikit-learn: networks, k-means and principal components.

They follow its conventions: settings are stored as they are given and checked by ``fit``, results end in an underscore,
and ``clone``, ``Pipeline``, ``GridSearchCV`` and ``set_output`` take them. This module needs scikit-learn:
``pip install 'portanet[sklearn]'``.

>>> from sklearn.datasets import load_iris
>>> from sklearn.model_selection import cross_val_score
>>> x, y = load_iris(return_X_y=True)
>>> bool(cross_val_score(NetClassifier(learning_rate_init=0.01, tol=0.01, random_state=0), x, y).mean() > 0.9)
True
"""

from portanet.sklearn.autoencoder import AutoEncoderTransformer
from portanet.sklearn.clusters import PCA, KMeans
from portanet.sklearn.nets import NetClassifier, NetRegressor

__all__ = ["PCA", "AutoEncoderTransformer", "KMeans", "NetClassifier", "NetRegressor"]
