"""The rows of a condensed table in their own units, for people and other tools."""

import html
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from attar.files import write_beside
from attar.wording import make_visible

TABLE = "table.csv"
ROWS, COLUMNS = 30, 12  # the most that are shown


@runtime_checkable
class Tabular(Protocol):
    """What is written and shown of a condensed table."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    def table(self) -> dict[str, np.ndarray]: ...
    def first(self, most: int, most_classes: int) -> "Tabular": ...


class Shown(NamedTuple):
    """Rows as text under the names of their columns, the class in front; `note` says what is left out."""

    names: list[str]
    rows: list[list[str]]
    note: str


def write_table(made: Tabular, folder: Path) -> None:
    """`table.csv`: a line for each row, its class by name in the last column."""
    import pyarrow as pa
    from pyarrow import csv

    columns = {name: pa.array(values.tolist()) for name, values in made.table().items()}
    with write_beside(folder / TABLE) as temporary:
        csv.write_csv(pa.table(columns), temporary)


def show_rows(made: Tabular) -> Shown:
    """The first rows of each class, of as many classes and columns as a reader takes in."""
    few = made.first(max(1, ROWS // len(made.classes)), ROWS)
    *names, label = columns = few.table()
    rows = [[brief(columns[name][i]) for name in (label, *names[:COLUMNS])] for i in range(len(columns[label]))]
    left = {"row": len(made.table()[label]) - len(rows), "column": len(names) - COLUMNS}
    note = " and ".join(f"{count:,} more {what}{'s' * (count > 1)}" for what, count in left.items() if count > 0)
    return Shown([label, *names[:COLUMNS]], rows, note)


def brief(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def draw_rows(made: Tabular) -> str:
    """What `show_rows` shows, as HTML."""
    shown = show_rows(made)
    lines = "".join(make_line("td", row) for row in shown.rows)
    note = f"<p>and {shown.note}</p>" if shown.note else ""
    return f"<table><thead>{make_line('th', shown.names)}</thead><tbody>{lines}</tbody></table>{note}"


def make_line(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(make_visible(cell))}</{tag}>" for cell in cells) + "</tr>"
