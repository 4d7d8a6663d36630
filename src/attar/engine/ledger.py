"""What is known of the pieces of work in a folder: planned, done or failed, and which of them somebody is at."""

import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from attar.arguments import read
from attar.files import DamagedFile, has_own_checksum, read_json, with_checksum, write_json
from attar.locks import is_held, lock_writer

LEDGER = "pieces.json"
ADVICE = "move it out of the folder: what is complete is found without it"


@dataclass(frozen=True)
class Entry:
    """A piece as the ledger has it. Whether it is complete, its files say: a kill may come before this is noted."""

    name: str
    seed: int
    cost: int
    """Floating-point operations; 0 where that is not known."""
    steps: int
    state: Literal["planned", "done", "failed"] = "planned"
    seconds: float | None = None
    """What it took; `None` before it is done, or where its process was killed before it noted that."""
    error: str = ""
    """Why it failed, in a sentence."""


def lock_path(folder: Path, key: str) -> Path:
    """Held by the process that does the piece."""
    return folder / f".{key}.lock"


def steps_path(folder: Path, key: str) -> Path:
    """It holds a byte for each step that was made, and is there while the piece is worked on."""
    return folder / f".{key}.steps.part"


def count_steps(folder: Path, key: str) -> int:
    try:
        return steps_path(folder, key).stat().st_size
    except FileNotFoundError:
        return 0


def is_worked_on(folder: Path, key: str) -> bool:
    return is_held(lock_path(folder, key))


def read_ledger(folder: Path) -> dict[str, Entry]:
    """Entries by the keys of their pieces; none where there is no ledger.

    Raises `ValueError` where it is damaged, or not Attar's.
    """
    path = folder / LEDGER
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except DamagedFile as error:
        raise DamagedFile(f"{error}; {ADVICE}") from None
    if not isinstance(content, dict) or not isinstance(content.get("pieces"), dict):
        raise ValueError(f"{path} was not written by attar")
    if not has_own_checksum(content):
        raise DamagedFile(f"{path} is damaged: its entries do not match its checksum; {ADVICE}")
    try:
        return {read_key(key): read_entry(entry) for key, entry in content["pieces"].items()}
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"{path} was not written by attar") from None


def read_key(key: str) -> str:
    """Raises `ValueError` for what is no hash: it becomes a part of files' names."""
    if not re.fullmatch("[0-9a-f]+", key):
        raise ValueError(key)
    return key


def read_entry(entry: dict[str, Any]) -> Entry:
    """Raises `TypeError`, `KeyError` or `ValueError` where it is no entry."""
    hints = get_type_hints(Entry)
    found = Entry(**{part.name: read(part.name, entry[part.name], hints[part.name]) for part in fields(Entry)})
    if not math.isfinite(found.seconds or 0.0):
        raise ValueError(found.seconds)
    return found


def note(folder: Path, entries: dict[str, Entry]) -> None:
    """Put entries into the folder's ledger, in the place of earlier ones of the same pieces."""
    with lock_writer(folder / LEDGER):  # or what another process notes in between would be lost
        known = read_ledger(folder)
        if (wanted := known | entries) != known:
            held = {key: asdict(entry) for key, entry in wanted.items()}
            write_json(folder / LEDGER, with_checksum({"pieces": held}))


def drop_ledger(folder: Path) -> None:
    """Remove the ledger where all its pieces are done, from a folder whose other files say so too."""
    if (folder / LEDGER).exists():
        with lock_writer(folder / LEDGER):
            if all(entry.state == "done" for entry in read_ledger(folder).values()):
                (folder / LEDGER).unlink(missing_ok=True)
