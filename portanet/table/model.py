"""A network with the columns that it takes and the target that it predicts, in one file."""

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from portanet.backends import Backend
from portanet.checks import shown
from portanet.files import FileFormatError, as_file_errors, pack_tensors, parse_json, read_tensors
from portanet.layers import Layer
from portanet.layers.summary import table as summary_table
from portanet.persistence import load
from portanet.saving import describe_network
from portanet.schema import NUMBER, Schema, first_mismatch
from portanet.table.columns import Column, column_from_json, column_to_json
from portanet.table.encoder import Encoder
from portanet.table.targets import Target, target_from_json, target_to_json

KEY = "table"
"""The name under which the metadata of the file of a network hold the description."""

SCHEMA: dict[Any, Schema] = {
    "data": str,
    "columns": [{"kind": str}],
    "target": {"task": str},
    "rows": {"training": int, "validation": int, "test": int, "without_target": int},
    "epochs": int,
    "best_epoch": int,
    "seed": int,
    "scores": {...: NUMBER},
    "baseline": {...: NUMBER},
    "versions": {...: str},
}


class TableNet:
    """
    A network that predicts a column of a table from the others.

    Parameters
    ----------
    net : Layer
        Its inputs are those of the encoder, its outputs those of the target.
    columns : sequence of Column
    target : Target
    training : dict
        How it was trained and what it scored, see ``SCHEMA``.

    Raises
    ------
    ValueError
        If the network does not fit the columns or the target.
    """

    def __init__(self, net: Layer, columns: Sequence[Column], target: Target, training: dict[str, Any]):
        self.net, self.columns, self.target, self.training = net, columns, target, training
        self.encoder = Encoder(columns)
        check_fit(net, self.encoder.n_inputs, target.n_outputs)

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Return the predictions of the target for the rows of a table."""
        return self.target.predict(self.net.predict(self.encoder.transform(table)))

    def description(self) -> dict[str, Any]:
        """Return all but the network, as JSON can write it."""
        columns = [column_to_json(column) for column in self.columns]
        return {"target": target_to_json(self.target), **self.training, "columns": columns}

    def to_bytes(self) -> bytes:
        """Return the content of a file, from which :meth:`load` builds it again; portanet.load reads the network."""
        arrays, metadata = describe_network(self.net)
        return pack_tensors(arrays, {**metadata, KEY: json.dumps(self.description(), allow_nan=False)})

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str | Backend | None = None) -> "TableNet":
        """
        Read a file that ``portanet train`` wrote.

        Raises
        ------
        OSError
            If the file cannot be read.
        FileFormatError
            If it is damaged, or holds a network without columns.
        """
        net, (_, metadata) = load(path, device=device), read_tensors(path)
        if KEY not in metadata:
            raise FileFormatError(path, "it holds a network, but no columns of a table: portanet train writes those")
        with as_file_errors(path):
            description = parse_json(metadata[KEY])
            if mismatch := first_mismatch(description, SCHEMA):
                raise ValueError(mismatch)
            columns = [column_from_json(value) for value in description.pop("columns")]
            target = target_from_json(description.pop("target"))
            if missing := {*target.scores} - {*description["scores"]} | {*target.scores} - {*description["baseline"]}:
                raise ValueError(f"it lacks the score {shown(min(missing))}")
            return cls(net, columns, target, description)

    def summary(self) -> str:
        """Return the table of the layers."""
        return summary_table(self.net, (self.encoder.n_inputs,))

    def origin(self) -> str:
        """Say what the rows were used for."""
        rows = self.training["rows"]
        dropped = f" {rows['without_target']:,} rows without a target were dropped." if rows["without_target"] else ""
        return (
            f"Of {self.training['data']}, {rows['training']:,} rows trained the network, {rows['validation']:,} chose "
            f"the best epoch, and {rows['test']:,} are the test rows.{dropped}"
        )

    def score_rows(self) -> list[tuple[str, str, str]]:
        """Return the name of each score, and its value for the network and for the baseline."""
        scores, baseline = self.training["scores"], self.training["baseline"]
        return [(name.replace("_", " "), f"{scores[name]:.4g}", f"{baseline[name]:.4g}") for name in self.target.scores]

    def verdict(self) -> str:
        """Compare the network with the baseline."""
        name, *_ = self.target.scores
        above = "above" if self.training["scores"][name] > self.training["baseline"][name] else "not above"
        return f"The {name} of the network is {above} that of the baseline, the {self.target.baseline}."


def check_fit(net: Layer, n_inputs: int, n_outputs: int) -> None:
    """
    Check that a network takes the inputs of a table and returns the outputs of a target.

    Examples
    --------
    >>> check_fit(portanet.Linear(3, 2), 3, 1)
    Traceback (most recent call last):
    ...
    ValueError: the network must return 1 outputs for the 3 inputs of the table, but returns outputs of shape (2,)
    """
    wanted = f"the network must return {n_outputs} outputs for the {n_inputs} inputs of the table"
    try:
        shape = net.build((n_inputs,)).output_shape((n_inputs,))
    except ValueError as error:
        raise ValueError(f"{wanted}, but does not take them: {error}") from None
    if shape != (n_outputs,):
        raise ValueError(f"{wanted}, but returns outputs of shape {shape}")
