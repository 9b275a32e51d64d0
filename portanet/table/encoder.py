"""The encoder: from a table to the inputs of a network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from portanet.checks import shown
from portanet.table.columns import Category, Column, Dropped


class Encoder:
    """
    Transformers of scikit-learn for the columns of a table, built from a description of the columns.

    Examples
    --------
    >>> from portanet.table.columns import Number
    >>> encoder = Encoder([Number("age", fill_value=30.0, add_indicator=True), Category("port", ["Lima", "Oslo"], 0)])
    >>> encoder.transform(pd.DataFrame({"port": ["Oslo", "Rome"], "age": [41.0, np.nan]}))
    array([[41.,  0.,  0.,  1.],
           [30.,  1.,  0.,  0.]])
    """

    def __init__(self, columns: Sequence[Column]):
        self.columns = [column for column in columns if not isinstance(column, Dropped)]
        examples = pd.DataFrame({column.name: column.example() for column in self.columns})
        steps = [(str(i), column.transformer(), [column.name]) for i, column in enumerate(self.columns)]
        self._transformer = ColumnTransformer(steps, sparse_threshold=0).fit(examples)
        self.n_inputs: int = self._transformer.transform(examples).shape[1]

    def transform(self, table: pd.DataFrame) -> np.ndarray:
        """
        Return the inputs for the rows of a table, shape (N, n_inputs).

        Raises
        ------
        ValueError
            If the table lacks a column, or a cell does not fit its column.
        """
        if missing := [column.name for column in self.columns if column.name not in table]:
            raise ValueError(f"the table lacks columns that the network was trained on: {shown(missing)}")
        cells = pd.DataFrame({column.name: column.read(table[column.name]) for column in self.columns})
        return np.asarray(self._transformer.transform(cells), dtype="float64")

    def unknown_categories(self, table: pd.DataFrame) -> dict[str, list[str]]:
        """Return, by column, the texts of a table that are none of the categories."""
        categories = [column for column in self.columns if isinstance(column, Category)]
        found = {column.name: column.unknown(table[column.name]) for column in categories}
        return {name: unknown for name, unknown in found.items() if unknown}
