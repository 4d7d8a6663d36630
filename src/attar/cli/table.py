"""What an evaluation looks like on a terminal."""

import io
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from attar.evaluation.audits.measures import Measure, tabulate_measures
from attar.evaluation.rows import COLUMNS, Row, explain_marks, list_columns, summarise
from attar.report.names import label_cells
from attar.report.networks import tabulate_networks
from attar.wording import make_visible

MOST_CLASSES = 20  # whose accuracies are printed side by side: a terminal has room for no more columns


def print_rows(rows: Sequence[Row], classes: Sequence[str]) -> None:
    """The table of accuracies, those of each class where they are few, and what all of them rest on."""
    cells = summarise(rows)
    columns = list_columns(cells)
    table = Table(*columns, box=None)
    for column in table.columns:
        column.justify = "left" if column.header in ("data", "method", "protocol", "network") else "right"
    by_class = Table("accuracy by class", *map(make_visible, classes), box=None)
    for cell, label in zip(cells, label_cells(cells), strict=True):
        texts = dict(zip(COLUMNS, cell.cells(), strict=True))
        table.add_row(*(make_visible(texts[name]) for name in columns))
        by_class.add_row(make_visible(label), *("–" if one is None else f"{one:.1f}" for one in cell.per_class))
    print(render(table), end="")
    if by_network := tabulate_networks(cells):
        across = Table("accuracy by network", *map(make_visible, by_network.networks), box=None)
        for name, line in by_network.lines.items():
            across.add_row(make_visible(name), *("–" if cell is None else cell.accuracy for cell in line))
        print(render(across), end="")
    if len(classes) <= MOST_CLASSES:
        print(render(by_class), end="")
    print_grounds(rows)
    if marks := explain_marks(cells):
        print(make_visible(marks))


def render(table: Table) -> str:
    """The table's lines for the standard output. Rich itself would end the process where that is a closed pipe."""
    terminal, lines = sys.stdout.isatty(), io.StringIO()
    width = None if terminal else 160  # in a file rich would wrap at 80 columns
    # Names are text: brackets and colons mean themselves.
    Console(file=lines, force_terminal=terminal or None, width=width, markup=False, emoji=False).print(table)
    return lines.getvalue()


def print_grounds(rows: Sequence[Row]) -> None:
    """What the accuracies rest on: seeds, precisions, and the images that were tested on."""
    kinds = (sorted({getattr(row, name) for row in rows}) for name in ("seed", "precision", "split"))
    seeds, precisions, splits = (list(map(str, kind)) for kind in kinds)
    mirrored = ["not mirrored", "mirrored"]
    images = " and ".join(mirrored[flip] for flip in sorted({row.flip for row in rows if row.flip is not None}))
    trained = f"seeds {', '.join(seeds)}; trained in {', '.join(precisions)}{images and ', images ' + images}"
    print(make_visible(f"{trained}; tested after the last epoch, on: {'; '.join(splits)}"))


def print_measures(measures: Sequence[Measure]) -> None:
    """A table for each audit, and for each way in which networks were trained."""
    for audit in tabulate_measures(measures):
        table = Table(audit.title, *map(make_visible, audit.subjects), box=None)
        for name, line in audit.lines.items():
            table.add_row(make_visible(name), *("–" if cell is None else cell.text for cell in line))
        print(f"on {make_visible(audit.data)}" + (f", networks trained by {audit.trained}" if audit.trained else ""))
        print(render(table), end="")
        for note in audit.notes:
            print(make_visible(note))


def print_gains(rows: Sequence[Row]) -> None:
    """What was gained over random images, a line for each budget."""
    cells = summarise(rows)
    whole = next((cell.mean for cell in cells if cell.first.method == "whole set"), None)
    for cell in cells:
        if cell.random is not None and cell.first.ipc and cell.first.method != "random":
            images = f"{cell.first.ipc} image{'s' * (cell.first.ipc > 1)} a class"
            told = f"{images}: {cell.mean:.1f} % by {cell.first.method}, {cell.random:.1f} % by random selection"
            print(
                make_visible(f"{told}, {cell.gain:+.1f} points" + (f"; the whole set: {whole:.1f} %" if whole else ""))
            )
