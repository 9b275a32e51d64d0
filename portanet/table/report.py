"""The report of a training: one page of HTML that needs no other file."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from portanet.table.model import TableNet

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 54em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: 0.2em 1.5em 0.2em 0; }
td { border-top: 1px solid #eee; overflow-wrap: anywhere; }
img { max-width: 100%; } pre { background: #f5f5f5; padding: 0.8em; overflow-x: auto; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{style}</style></head>
<body>
<h1>{title}</h1>
<p>The network predicts {target}.</p>
<p>{origin}</p>

<h2>Scores</h2>
<p>{verdict} The scores are those of the test rows, which training did not use.</p>
{scores}

<h2>Columns</h2>
{columns}

<h2>Training</h2>
<p>Training ended after {epochs} epochs. The network is that of epoch {best_epoch}, which had the lowest loss of the
validation rows.</p>
{curves}
<pre>{layers}</pre>

<h2>Test rows</h2>
{test}

<h2>How to predict</h2>
<p>The new table needs the columns above that are not dropped. It may have others.</p>
<pre>portanet predict net.safetensors NEW.csv --out predictions.csv
portanet show net.safetensors</pre>
<p>In Python, <code>portanet.load("net.safetensors")</code> returns the network alone, which takes encoded rows.</p>

<p><small>Seed {seed}; {versions}.</small></p>
</body>
</html>
"""


def report(model: TableNet, pictures: Mapping[str, bytes]) -> bytes:
    """
    Write the page.

    Parameters
    ----------
    model : TableNet
    pictures : mapping of str to bytes
        PNG files by name: the curves, and the picture of the target.

    Returns
    -------
    bytes
        HTML in UTF-8, with the pictures inside. All texts from the data are escaped.
    """
    facts, target = model.training, model.target
    page = PAGE.format(
        style=STYLE,
        title=escape(f"{target.name}: {target.task}"),
        target=escape(f"“{target.name}”, {target.describe()}"),
        origin=escape(model.origin()),
        verdict=escape(model.verdict()),
        scores=_table(("score", "network", target.baseline), model.score_rows()),
        columns=_table(("column", "what is done with it"), [(c.name, c.describe()) for c in model.columns]),
        epochs=facts["epochs"],
        best_epoch=facts["best_epoch"],
        curves=_picture("curves.png", pictures),
        layers=escape(model.summary()),
        test=_picture(target.picture, pictures),
        seed=facts["seed"],
        versions=escape(", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
    )
    return page.encode()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _picture(name: str, pictures: Mapping[str, bytes]) -> str:
    return f'<img alt="{name}" src="data:image/png;base64,{b64encode(pictures[name]).decode()}">'
