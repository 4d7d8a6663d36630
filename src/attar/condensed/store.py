"""A condensed set in a folder: written whole or not at all, and read back."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from attar.arguments import checked
from attar.condensed.card import CARD, write_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import CONTACT, IMAGES, write_pictures
from attar.condensed.tables import TABLE, write_table
from attar.condensed.validate import ADDED, quote
from attar.engine.ambient import plain_torch
from attar.files import (
    check_writable,
    has_hash,
    has_own_checksum,
    hash_file,
    read_json,
    read_tensors,
    with_checksum,
    write_json,
    write_tensors,
)
from attar.replacing import settle, stage

FORMAT = 1
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # of file managers that looked into a folder
LEFT = (".lock", ".part")  # locks and parts of files: Attar's own, left by a killed process
TENSORS, MANIFEST, REQUEST = "condensed.safetensors", "recipe.json", "run.json"
ARTEFACT = (MANIFEST, TENSORS, CARD, CONTACT, IMAGES, TABLE)
# What tells Attar's own from another program's file of that name.
MARKS = {MANIFEST: {"format", "sha256"}, REQUEST: {"format", "method"}}


@checked
@plain_torch()
def save(made: CondensedSet, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write the artefact: tensors, 8-bit images by class and a contact sheet or a table, card and manifest.

    It is complete before it takes the place of another, and what fails half-way leaves that. Raises `ValueError` where
    the folder holds other files, or another set that is not to be replaced (`overwrite`).
    """
    folder = Path(folder)
    made.check()  # again, as its tensors may have changed since it was made
    claim(folder)
    if (folder / MANIFEST).exists():
        if not overwrite:
            raise ValueError(f"{folder} already holds a condensed set: save(..., overwrite=True) replaces it")
        refuse_link(folder)
    meta = {name: getattr(made, name) for name in ("classes", "factor", "space")}
    meta |= made.normalisation.entries
    meta |= {} if made.columns is None else {"columns": [asdict(column) for column in made.columns]}
    meta |= {} if made.step_size is None else {"step_size": made.step_size}
    meta |= {} if made.decoder is None else {"decoder": made.decoder.name}
    tensors = {"images": made.images, "labels": made.labels, **made.normalisation.tensors}
    learned = {"soft": made.soft, "targets": made.targets}
    tensors |= {name: rows for name, rows in learned.items() if rows is not None}
    tensors |= made.steps.tensors if made.steps else {}
    tensors |= made.decoder.tensors if made.decoder else {}
    with stage(folder, ARTEFACT) as staged:
        write_tensors(staged / TENSORS, tensors, meta)
        if made.columns is None:
            write_pictures(made, staged)
        else:
            write_table(made, staged)
        write_card(made, staged)
        write_json(staged / MANIFEST, make_manifest(made, staged))
    return folder


def make_manifest(made: CondensedSet, folder: Path) -> dict[str, Any]:
    """What is known of the set, and the sha256 of every file of the artefact and of the manifest itself."""
    artefact = [folder / name for name in (TENSORS, CARD, CONTACT, TABLE)] + sorted((folder / IMAGES).rglob("*.png"))
    files = {path.relative_to(folder).as_posix(): hash_file(path) for path in artefact if path.exists()}
    manifest = {"format": FORMAT, "sha256": files[TENSORS], "bytes": made.bytes, **made.provenance, "files": files}
    return with_checksum(manifest)


@checked
@plain_torch()
def load(folder: str | Path) -> CondensedSet:
    """The artefact of a run's folder.

    Raises `ValueError` where there is none, or a damaged one, or one of another version.
    """
    folder = Path(folder)
    settle(folder)
    if not (folder / MANIFEST).is_file():
        what = "an unfinished run: resume it first" if (folder / REQUEST).exists() else "no condensed set"
        raise ValueError(f"{folder} holds {what} (no {MANIFEST})")
    manifest = read_manifest(folder)
    if not is_own(manifest):  # its tensors are whole, and a person may have added a word
        told = f"{folder / MANIFEST} was changed after it was written: what it says of the set may be wrong"
        logging.getLogger("attar").warning(told)
    if manifest["format"] != FORMAT:
        raise ValueError(f"{folder} has format {quote(manifest['format'])}; this attar reads format {FORMAT}")
    if not (folder / TENSORS).is_file():
        raise ValueError(f"no such file: {folder / TENSORS}")
    if hash_file(folder / TENSORS) != manifest["sha256"]:
        raise ValueError(f"{folder / TENSORS} is damaged, or another set's: its checksum is not the one in {MANIFEST}")
    tensors, meta = read_tensors(folder / TENSORS)
    # Without what `save` adds by itself.
    provenance = {key: value for key, value in manifest.items() if key not in ADDED}
    try:
        return CondensedSet.stored(tensors, meta, provenance)
    except ValueError as error:
        raise ValueError(f"{folder} holds no sound set: {error}") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises `ValueError` where it is missing, damaged, or not Attar's."""
    return read_own(folder / MANIFEST)


def read_own(path: Path) -> dict[str, Any]:
    """A manifest, or what a run was asked for. Raises `ValueError` where it is missing, damaged, or not Attar's."""
    content = read_json(path)
    if not isinstance(content, dict) or not MARKS[path.name] <= content.keys():
        raise ValueError(f"{path} was not written by attar")
    return content


def is_own(manifest: dict[str, Any]) -> bool:
    """Whether the manifest is as it was written, where it says so: those written before have no checksum."""
    return "checksum" not in manifest or has_own_checksum(manifest)


State = Literal["whole", "damaged", "missing", "without a hash"]


def check_folder(folder: str | Path) -> dict[str, State]:
    """What each file of a run's folder is, by its path within. What the manifest names may be missing.

    A file without a hash may be whole, or not. Raises `ValueError` where the folder holds no set, and no run's
    beginning.
    """
    folder = Path(folder)
    settle(folder)
    if not any((folder / name).is_file() for name in (MANIFEST, REQUEST)):
        raise ValueError(f"{folder} holds no condensed set and no run (no {MANIFEST}, no {REQUEST})")
    hashes = list_hashes(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(LEFT)]
    found = {path.relative_to(folder).as_posix() for path in files}
    return {name: check_file(folder / name, hashes.get(name)) for name in sorted(found | hashes.keys())}


def list_hashes(folder: Path) -> dict[str, str]:
    """Those that the manifest gives for the folder's own files; none where it cannot be read."""
    try:
        manifest = read_manifest(folder)
    except ValueError:
        return {}
    files = manifest.get("files")
    named = files if isinstance(files, dict) else {}
    own = {str(name): str(digest) for name, digest in named.items() if is_within(str(name))}
    return own | {TENSORS: str(manifest["sha256"])}


def is_within(name: str) -> bool:
    """Whether a manifest's path stays in its folder: one from elsewhere may name any file."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def check_file(path: Path, expected: str | None) -> State:
    """What a file is by the hash that the manifest expects, or else by the one that it carries itself."""
    if not path.is_file():
        return "missing"
    if expected is not None:
        return "whole" if hash_file(path) == expected else "damaged"
    try:
        if path.suffix == ".safetensors":
            read_tensors(path)
            return "whole" if has_hash(path) else "without a hash"
        if path.suffix == ".json":
            content = read_manifest(path.parent) if path.name == MANIFEST else read_json(path)
            if isinstance(content, dict) and "checksum" in content:
                return "whole" if has_own_checksum(content) else "damaged"
    except ValueError:
        return "damaged"
    return "without a hash"


def claim(folder: Path, marks: Sequence[str] = (MANIFEST, REQUEST)) -> None:
    """Raises `ValueError` where the folder cannot be written to, or holds files but none of the `marks`.

    By default these are a set, or the beginning of a run. One that another program wrote is refused by its name.
    """
    check_writable(folder)
    settle(folder)
    for path in (folder / MANIFEST, folder / REQUEST):
        if os.path.lexists(path):
            check_own(path)
    others = folder.exists() and any(not path.name.endswith((*LEFT, *LITTER)) for path in folder.iterdir())
    if others and not any(is_mark(found) for mark in marks for found in folder.glob(mark)):
        raise ValueError(f"{folder} holds files that are no run's: name a new folder")


def is_mark(path: Path) -> bool:
    """Whether a file shows that the folder is Attar's."""
    try:
        check_own(path)
    except ValueError:
        return False
    return True


def check_own(path: Path) -> None:
    """Raises `ValueError` where what would be replaced is not, or is no longer, what Attar wrote."""
    try:
        if path.name in MARKS:
            read_own(path)
    except ValueError as error:
        raise ValueError(f"{error}: name another folder, or remove this file") from None


def refuse_link(folder: Path) -> None:
    """Raises `ValueError` for a link, as what would be replaced behind it may be somebody else's."""
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link, and nothing is replaced behind it: name {folder.resolve()} itself")
