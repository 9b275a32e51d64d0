"""What ``portanet train``, ``portanet predict`` and ``portanet show`` do. Errors are exceptions with one sentence."""

import json
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from portanet.checks import check_path, shown
from portanet.files import write_atomically
from portanet.schema import CONTROL
from portanet.table import pictures
from portanet.table.columns import Dropped
from portanet.table.folder import FORMAT, METRICS_FILE, check_folder, write_folder
from portanet.table.model import TableNet
from portanet.table.reading import check_pyarrow, read_table
from portanet.table.report import report
from portanet.table.training import train


def train_command(data: str, target: str, *, out: str, **options: Any) -> None:
    """Train a network on a table, and write it with its report to a folder."""
    folder, table = check_folder(out), read_table(data)
    trained = train(table, target, data=CONTROL.sub("?", Path(data).name), **options)
    net = trained.net
    images = {
        "curves.png": pictures.curves(trained.history),
        net.target.picture: net.target.draw(trained.y_true, trained.y_pred),
    }
    files = {**images, "report.html": report(net, images), "net.safetensors": net.to_bytes()}
    facts = {"format": FORMAT, "files": [*files], **net.description(), "network": repr(net.net)}
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    write_folder(folder, {METRICS_FILE: f"{text}\n".encode(), **files})
    print(net.origin())
    for column in net.columns:
        if isinstance(column, Dropped):
            print(f"column {shown(column.name)} is {column.describe()}")
    print(_scores(net))
    print(f"{net.verdict()} See {folder / 'report.html'}.")


def predict_command(net: str, data: str, *, out: str, device: str = "auto") -> None:
    """Write the predictions for a table to a CSV or Parquet file."""
    path = check_path("out", out)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"out must be a file whose name ends in .csv or .parquet, got {shown(out)}")
    if path.suffix.lower() == ".parquet":
        check_pyarrow()
    if path.exists() and path.samefile(data):
        raise ValueError(f"out is the table itself, {out}: give another file")
    model, table = TableNet.load(net, device=device), read_table(data)
    predictions = model.target.frame(model.predict(table))
    if unknown := model.encoder.unknown_categories(table):
        found = "; ".join(f"{shown(name)}: {shown(texts)}" for name, texts in unknown.items())
        warnings.warn(f"texts that are none of the known categories count as none: {found}", stacklevel=2)
    content = BytesIO()
    if path.suffix.lower() == ".parquet":
        predictions.to_parquet(content, index=False)
    else:
        predictions.to_csv(content, index=False)
    write_atomically(path, content.getvalue())
    print(f"wrote {len(predictions):,} predictions of {shown(model.target.name)} to {path}")


def show_command(net: str) -> None:
    """Print what a network is."""
    model = TableNet.load(net)
    print(f"{model.target.task} of {shown(model.target.name)}: {model.target.describe()}")
    print(model.origin())
    print("\ncolumns")
    for column in model.columns:
        print(f"  {shown(column.name)}: {column.describe()}")
    print(f"\n{model.summary()}\n\n{_scores(model)}")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train_command,
    "predict": predict_command,
    "show": show_command,
}


def _scores(model: TableNet) -> str:
    rows = [("scores of the test rows", "network", model.target.baseline), *model.score_rows()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
