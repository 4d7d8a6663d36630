"""What a page calls its sets, and the cells of its tables."""

from collections.abc import Sequence
from typing import Any

from attar.condensed.condensed_set import CondensedSet
from attar.evaluation.rows import Row, Summary
from attar.wording import budget


def about(made: CondensedSet, name: str, default: Any = None) -> Any:
    return made.provenance.get(name, default)


def method(made: CondensedSet) -> str:
    return about(made, "method", "given")


def key(made: CondensedSet) -> tuple[str, int | None]:
    return method(made), made.ipc


def by_budget(ipc: int | None) -> tuple[bool, int]:
    """What budgets are sorted by: sets whose method found the number come last."""
    return ipc is None, ipc or 0


def title(made: CondensedSet, *, seed: bool = False) -> str:
    drawn = f", seed {about(made, 'seed')}" if seed and about(made, "seed") is not None else ""
    return f"{method(made)}, {budget(made.ipc, len(made.labels), made.generative)}{drawn}"


def name_cell(row: Row) -> str:
    return row.method if row.method == "whole set" else f"{row.method}, {budget(row.ipc, row.images, row.generator)}"


def label_cells(cells: Sequence[Summary], beside: Sequence[str] = ("protocol", "network")) -> list[str]:
    """A name for each cell, as short as tells them apart: also by their data, and what of a row is named `beside`."""
    facts = [(cell.data, *(getattr(cell.first, name) for name in beside)) for cell in cells]
    varied = [i for i, values in enumerate(zip(*facts, strict=True)) if len(set(values)) > 1]
    names = []
    for row, known in zip((cell.first for cell in cells), facts, strict=True):
        names.append(", ".join([name_cell(row), *(known[i] for i in varied)]) + row.remark)
    return names
