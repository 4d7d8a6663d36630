"""What an evaluation looks like on a terminal."""

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.evaluation.rows import COLUMNS, Row, summarise
from attar.report.page import label_cells
from attar.wording import make_visible

MOST_CLASSES = 20  # whose accuracies are printed side by side: a terminal has room for no more columns


def print_rows(rows: Sequence[Row], classes: Sequence[str]) -> None:
    """The table of accuracies, those of each class where they are few, and what all of them rest on."""
    cells = summarise(rows)
    table = Table(*COLUMNS, box=None)
    for column in table.columns:
        column.justify = "left" if column.header in ("data", "method", "protocol") else "right"
    by_class = Table("accuracy by class", *map(make_visible, classes), box=None)
    for cell, label in zip(cells, label_cells(cells), strict=True):
        table.add_row(*map(make_visible, cell.cells()))
        by_class.add_row(make_visible(label), *(f"{accuracy:.1f}" for accuracy in cell.per_class))
    width = None if sys.stdout.isatty() else 160  # in a file rich would wrap at 80 columns
    console = Console(width=width, markup=False, emoji=False)  # names are text: brackets and colons mean themselves
    console.print(table)
    if len(classes) <= MOST_CLASSES:
        console.print(by_class)
    kinds = (sorted({getattr(row, name) for row in rows}) for name in ("seed", "precision", "split"))
    seeds, precisions, splits = (list(map(str, kind)) for kind in kinds)
    mirrored = ["not mirrored", "mirrored"]
    images = " and ".join(mirrored[flip] for flip in sorted({row.flip for row in rows if row.flip is not None}))
    trained = f"seeds {', '.join(seeds)}; trained in {', '.join(precisions)}{images and ', images ' + images}"
    tested = f"{trained}; tested after the last epoch, on: {'; '.join(splits)}"
    console.print(make_visible(tested), highlight=False)


def notes(made: CondensedSet, rows: Sequence[Row], task: Task) -> Iterator[str]:
    """What a reader of these rows should know: data it was not made from, an accuracy its recipe does not expect."""
    about = made.provenance
    if about.get("fingerprint") != task.fingerprint:
        yield f"this set was not made from the training images of this {make_visible(task.name)}"
    match about.get("expect"):
        # A band holds for the protocol that it was measured by. A file's own words may lack a part.
        case {"protocol": protocol, "accuracy": [int() | float() as low, int() | float() as high], **expect}:
            for cell in summarise(rows) if protocol == rows[0].protocol else ():
                if not low <= cell.mean <= high:
                    source = make_visible(f"{expect.get('source')}: {expect.get('published')}")
                    yield f"{cell.mean:.1f} is outside the {low} to {high} that its recipe expects ({source})"
