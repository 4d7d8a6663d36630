"""Which parts of a data set train and judge, told from their names."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from attar.data.check import Judge
from attar.data.reading import Reading

PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev"),
}
LOG = logging.getLogger("attar")


class Chosen(NamedTuple):
    """The names of the part that trains and of the one that judges, and what the latter is."""

    train: str
    test: str | None
    judge: Judge


def choose_parts(names: Sequence[str], place: str, reading: Reading) -> Chosen:
    """The parts to take, of all these names: the one that trains, and the one that is wanted to judge.

    Where no test part judges, the validation part does. A single part trains, whatever it is called. Raises
    `ValueError` where the names do not tell. What is not used is logged.
    """
    parts = {role: find_part(names, known, place) for role, known in PARTS.items()}
    train = parts["train"] or (names[0] if len(names) == 1 else None)
    if train is None:
        listed = ", ".join(names) or "none"
        raise ValueError(f"{place} has the parts {listed}; expected train, and perhaps test or validation")
    if reading.judge == "validation" and parts["validation"] in (None, train):
        raise ValueError(f"split is validation, but {place} has no such part beside {train}")
    judge: Judge = reading.judge if parts[reading.judge] else "validation"
    test = None if reading.held_out or parts[judge] == train else parts[judge]
    if test and judge != reading.judge:
        LOG.warning(f"{place} has no test part: its part {test} judges")
    if not reading.held_out:
        say_unused([name for name in names if name not in (train, test)], parts["validation"], place)
    return Chosen(train, test, judge)


def find_part(names: Iterable[str], known: Iterable[str], place: str) -> str | None:
    """The part under one of its known names. Raises `ValueError` where it could be either of two."""
    found = [name for name in names if name.lower() in known]
    if len(found) > 1:
        raise ValueError(f"{place} has both {found[0]} and {found[1]}: leave one out")
    return found[0] if found else None


def say_unused(unused: Sequence[str], validation: str | None, place: str) -> None:
    """One logged sentence about parts that are left alone: nobody shall believe they were used."""
    if unused:
        how = f'; to test on {validation}, give load_data split="validation", or --split validation'
        LOG.warning(f"{place}: not used: {', '.join(unused)}{how if validation in unused else ''}")
