"""
A table through scikit-learn
============================

``NetClassifier`` is an estimator of scikit-learn. It fits into pipelines, cross-validation and searches.
"""

# %%
# A table of scikit-learn: 13 measurements of 178 wines from three growers.

from sklearn import metrics
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from portanet.plots import confusion_matrix
from portanet.sklearn import NetClassifier

wine = load_wine()
print(wine.data.shape, wine.target_names)
x_train, x_test, y_train, y_test = train_test_split(
    wine.data, wine.target, test_size=0.3, stratify=wine.target, random_state=0
)

# %%
# A pipeline
# ----------
# The columns have different units; the network standardizes them itself. A cell may be empty: the imputer learns its
# means from the training rows of each fold alone, because it is part of the pipeline.

model = make_pipeline(SimpleImputer(), NetClassifier((32,), learning_rate_init=0.01, max_iter=500, random_state=0))
print("accuracy of 5 folds:", cross_val_score(model, x_train, y_train, cv=5).round(3))

# %%
# A search
# --------
# Names of parameters join the step and the argument by two underscores.

grid = {"netclassifier__hidden_layer_sizes": [(8,), (32,)], "netclassifier__dropout": [0.0, 0.3]}
search = GridSearchCV(model, grid, cv=3).fit(x_train, y_train)
print("best:", search.best_params_)

# %%
# The rows of the test set were in no fold.

counts = metrics.confusion_matrix(y_test, search.predict(x_test))
confusion_matrix(counts, wine.target_names.tolist(), title="wines of the test set")

# %%

print(f"test accuracy: {search.score(x_test, y_test):.3f}")
