"""One piece of work, done by one process at a time and once for all."""

import functools
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import Timeout

from attar.engine.ledger import Entry, lock_path, note, read_ledger, steps_path
from attar.locks import hold_lock
from attar.wording import in_a_line

Tick = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Piece:
    """Work that is done wholly or not at all. Recipe, name and seed together say which work it is.

    `work` and `find` are functions of a module, with paths, numbers and text given by `functools.partial`: so they can
    be sent to any machine. On this one, what cloudpickle takes will do.
    """

    recipe: str
    """All that its outcome depends on beside the name and the seed."""
    name: str
    """For a reader."""
    seed: int
    folder: Path
    """Where its lock lies, and the ledger that tells of it."""
    work: Callable[[Tick], Any]
    """Writes its files, last the one that completes it, and returns what `find` will. Calls the tick after each step.

    A `ValueError` is a failure of this piece alone: the others are done all the same.
    """
    find: Callable[[], Any | None]
    """What it made, of small size, such as a path or numbers; `None` where it is not complete."""
    cost: int
    """Floating-point operations; 0 where that is not known."""
    steps: int = 1

    @functools.cached_property
    def key(self) -> str:
        return hashlib.blake2b(repr((self.recipe, self.name, self.seed)).encode(), digest_size=16).hexdigest()

    @property
    def entry(self) -> Entry:
        return Entry(self.name, self.seed, self.cost, self.steps)


class Outcome(NamedTuple):
    """What became of a try."""

    made: Any = None
    error: str = ""
    """The sentence of a piece that failed."""
    busy: bool = False
    """Another process is at it."""


def note_plan(left: Sequence[Piece], made: Collection[Piece]) -> None:
    """Note in the ledgers what will be done, and what is complete but not noted yet."""
    for folder in {piece.folder for piece in (*left, *made)}:
        known = read_ledger(folder)
        entries = {piece.key: piece.entry for piece in left if piece.folder == folder}
        for piece in made if known or entries else ():
            if piece.folder == folder and (piece.key not in known or known[piece.key].state != "done"):
                entries[piece.key] = replace(piece.entry, state="done")
        if entries:
            note(folder, entries)


def attempt(piece: Piece, wait: bool, show: Tick = lambda: None) -> Outcome:
    """Do the piece, alone among processes, unless it is complete; `wait` for another process that is at it."""
    with ExitStack() as held:
        try:
            held.enter_context(hold_lock(lock_path(piece.folder, piece.key), -1.0 if wait else 0.0))
        except Timeout:
            return Outcome(busy=True)
        found = piece.find()  # again: another process may have done it by now
        if found is None:
            return do(piece, show)
        note_plan([], [piece])
        return Outcome(found)


def do(piece: Piece, show: Tick) -> Outcome:
    """Do the piece and note what became of it. Raises what is no failure of this piece alone."""
    steps, start = steps_path(piece.folder, piece.key), time.perf_counter()
    steps.write_bytes(b"")  # what a killed process left counts no more

    def tick() -> None:
        with steps.open("ab") as file:
            file.write(b".")
        show()

    try:
        made = piece.work(tick)
    except Exception as error:
        told = (isinstance(error, ValueError) and str(error)) or in_a_line(error)
        with suppress(OSError):  # a full disk, which may be the error itself
            note(piece.folder, {piece.key: replace(piece.entry, state="failed", error=told)})
        if not isinstance(error, ValueError):
            raise
        return Outcome(error=told)
    finally:
        steps.unlink(missing_ok=True)
    note(piece.folder, {piece.key: replace(piece.entry, state="done", seconds=time.perf_counter() - start)})
    return Outcome(made)
