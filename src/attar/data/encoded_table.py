"""Tables whose rows are encoded images and their labels, wherever they lie: checked, then decoded in order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from PIL import __version__ as PILLOW

from attar.data.check import Found, Given, Parts
from attar.data.columns import Roles, check_alike, check_classes, choose_columns, say_choice
from attar.data.decoded_cache import Kept, keep_decoded, load_decoded, place_decoded
from attar.data.decoding import Decoded, Decoding, Encoded, decode_pictures, say_left_out
from attar.data.groups import check_column
from attar.data.on_disk import LIMIT, as_tensor
from attar.data.reading import Reading
from attar.data.splits import choose_parts
from attar.data.task import Examples

AT_ONCE = 100  # rows that are read at a time: photographs are some megabytes each


class Rows(NamedTuple):
    """Rows of one file, or of one part of a dataset; `what` they are called in errors."""

    what: str
    folder: Path
    """Where paths of images begin."""
    state: str
    """Which file it is, and of which size and time; or another sign that changes where the rows do."""
    schema: pa.Schema
    read: Callable[[str], Iterator[list[Any]]]
    """The cells of a column from the first row on, some at a time."""


def read_table(place: str, names: Sequence[str], take: Callable[[str], list[Rows]], reading: Reading) -> Found:
    """The parts of own data that train and judge, of all these names; `take` gives the rows of one.

    Raises `ValueError` where parts, columns or rows are not what they should be.
    """
    chosen = choose_parts(names, place, reading)
    parts = {"training": take(chosen.train)}
    if chosen.test is not None:
        parts[chosen.judge] = take(chosen.test)
    first = parts["training"][0]
    roles = choose_columns(first.schema, first.what, reading.image_column, reading.label_column)
    if reading.image_column is None:
        say_choice(first.schema, place, "image", roles.image)
    if reading.label_column is None:
        say_choice(first.schema, place, "label", roles.label)
    found = read_parts(parts, roles, reading.decoding, place, reading.quiet, reading.group)
    return found._replace(judge=chosen.judge)


def read_parts(
    parts: Mapping[str, Sequence[Rows]],
    roles: Roles,
    decoding: Decoding | None,
    place: str,
    quiet: bool,
    group: str | None = None,
) -> Found:
    """The part "training", and perhaps another that judges. `decoding` is as `decode_pictures` has it.

    `group` is the column of the groups. Raises `ValueError` naming the file and row where a label lacks or an image
    cannot be decoded, and the files that do not go together.
    """
    first, *others = [rows for part in parts.values() for rows in part]
    for other in others:
        check_alike(first.schema, other.schema, roles, (first.what, other.what))
    if group is not None:
        for rows in (first, *others):
            check_column(group, rows.schema.names, rows.what)
    # All of them before the first image is decoded: a row without a label should not cost the time of the others.
    labels = {name: read_labels(part, roles.label) for name, part in parts.items()}
    groups = {} if group is None else {name: read_labels(part, group, "group") for name, part in parts.items()}
    check_classes(labels["training"], f"{place}: the column {roles.label}")
    train, *tests = [
        take_images(f"{place}: the {name}", part, roles.image, labels[name], groups.get(name), decoding, quiet)
        for name, part in parts.items()
    ]
    return Found(train, tests[0] if tests else None, roles.names)


def read_labels(part: Sequence[Rows], column: str, called: str = "label") -> list[Any]:
    """The cells of a column of labels, or of groups. Raises `ValueError` where one is missing."""
    found: list[Any] = []
    for rows in part:
        labels = [label for some in rows.read(column) for label in some]
        if None in labels:
            raise ValueError(f"{rows.what}: row {labels.index(None)} has no {called} in the column {column}")
        found += labels
    return found


def take_images(
    what: str,
    part: Sequence[Rows],
    column: str,
    labels: list[Any],
    groups: list[Any] | None,
    decoding: Decoding | None,
    quiet: bool,
) -> Given:
    """The images in this column, decoded now or before, and the labels and groups of those that are not left out."""

    def give(x: Any, numbers: Any) -> Given:
        return Given(what, x, held[numbers], None if groups is None else np.array(groups)[numbers])

    held = np.array(labels)
    place, state = place_decoded("table", (what, column, decoding, PILLOW)), repr([rows.state for rows in part])
    kept = load_decoded(place, what, state) if decoding else None  # known sets have a cache of their own
    if kept:
        say_left_out(kept.left_out[0], len(held))
        return give(kept.parts.train.x, kept.parts.train.y.numpy())
    (x, numbers, damaged), alone = decode_images(what, part, column, len(held), decoding, quiet)
    if decoding and alone and 0 < x.nbytes <= LIMIT:  # what is larger is on the disk already
        images = Examples(as_tensor(x), torch.tensor(numbers))
        keep_decoded(place, Kept(Parts(images, None, ()), (damaged, [])), state)
    return give(x, numbers)


def decode_images(
    what: str, part: Sequence[Rows], column: str, total: int, decoding: Decoding | None, quiet: bool
) -> tuple[Decoded, bool]:
    """The images in this column, the numbers of their rows for labels, and whether they lie in the table alone."""
    alone = True

    def pictures() -> Iterator[Encoded]:
        nonlocal alone
        cells = ((rows, row, cell) for rows in part for row, cell in enumerate(chain(*rows.read(column))))
        for number, (rows, row, cell) in enumerate(cells):
            yield (picture := find_picture(cell, rows, row, number))
            alone &= isinstance(picture.source, bytes)

    return decode_pictures(pictures, total, decoding, f"decoding {what} part", quiet), alone


def find_picture(cell: Any, rows: Rows, row: int, number: int) -> Encoded:
    """The image of a cell: its bytes, or the file at its path. Raises `ValueError` where there is no such file."""
    what = f"{rows.what}: the image of row {row}"
    held = cell if isinstance(cell, dict) else {"path" if isinstance(cell, str) else "bytes": cell}
    if (path := held.get("path")) and held.get("bytes") is None:
        if not (rows.folder / path).is_file():
            raise ValueError(f"{what} is not in the table, and there is no file {rows.folder / path}")
        return Encoded(f"{what} ({path})", rows.folder / path, number)
    return Encoded(what, held.get("bytes") or b"", number)
