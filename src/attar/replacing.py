"""Folders whose content is replaced at once: whoever looks finds all of the old, or all of the new."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attar.files import is_own_folder, make_folder, read_json, remove, sync, write_json
from attar.locks import lock_writer

# Where a folder's new content is made, waits, and is moved from; all end in .part, as what is under way.
STAGE, READY, MOVING, REPLACED = ".stage", ".ready.part", ".moving.part", ".replaced.part"


@contextmanager
def stage(folder: Path, replaced: Sequence[str]) -> Iterator[Path]:
    """A new folder within `folder`; when the block succeeds, what it holds replaces the entries `replaced`.

    What fails or is killed leaves all of the old or, from the renaming on, all of the new.
    """
    with make_folder(folder), lock_writer(folder / STAGE):  # so that nobody is at work in what lies there
        for leftover in folder.glob(f"{STAGE}.*.part"):
            remove(leftover)
        staged = folder / f"{STAGE}.{secrets.token_hex(4)}.part"
        staged.mkdir()
        try:
            yield staged
            commit(folder, staged, replaced)
        finally:
            remove(staged)


def commit(folder: Path, staged: Path, replaced: Sequence[str]) -> None:
    """What `staged`, a folder within `folder`, holds takes the place of the entries `replaced`."""
    write_json(staged / REPLACED, list(replaced))
    for path in [*staged.rglob("*"), staged]:
        if path.is_file():
            sync(path)
    settle(folder)  # what another commit left
    staged.replace(folder / READY)  # from here on the new is what counts: whoever comes next goes on below
    settle(folder)


def settle(folder: Path) -> None:
    """Finish what a killed commit began in this folder, or in those within. Every reader of folders does this first."""
    for mark in (READY, MOVING):
        for begun in [folder / mark, *folder.glob(f"*/{mark}")]:
            if is_own_folder(begun):
                with lock_writer(begun):  # or a second one would remove what the first has moved
                    finish_commit(begun.parent)


def read_replaced(path: Path) -> list[str]:
    """The entries that a commit replaces. Raises `ValueError` where one is none of the folder's own.

    A folder from elsewhere may say anything, and what it names is removed.
    """
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} was not written by attar")
    for name in names:
        if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
            raise ValueError(f"{path} was not written by attar: it names {name!r}, which is no entry of its folder")
    return names


def finish_commit(folder: Path) -> None:
    """Each step may be killed, and done again."""
    ready, moving = folder / READY, folder / MOVING
    if is_own_folder(ready):
        for name in read_replaced(ready / REPLACED):
            remove(folder / name)
        ready.rename(moving)
    if is_own_folder(moving):
        for path in moving.iterdir():
            if path.name != REPLACED:
                path.replace(folder / path.name)
        remove(moving)
        with suppress(OSError):  # not every system can do this with a folder
            sync(folder)
