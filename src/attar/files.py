"""Files that are either whole or not there."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# Where a folder's new content waits, and where it is moved from; all in .part, as what is under way.
READY, MOVING, REPLACED = ".ready.part", ".moving.part", ".replaced.part"


class DamagedFile(ValueError):
    """A file that is not as it was written."""


def cache_folder() -> Path:
    """Where Attar keeps what it can make anew: `$ATTAR_CACHE`, else `$XDG_CACHE_HOME/attar`, else `~/.cache/attar`."""
    if own := os.environ.get("ATTAR_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "attar"


@contextmanager
def write_beside(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary name in the same folder, renamed to `path` when the block succeeds.

    What was there before stays as `previous`, if that is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only within a file system is renaming one step; of its own, as several may write.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    temporary.touch(exist_ok=False)  # never through a link
    mode = temporary.stat().st_mode  # as the user's umask has it; safetensors lets nobody else read what it writes
    try:
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
        if previous and path.exists():
            path.replace(previous)
        temporary.replace(path)
        with suppress(OSError):  # not every system can do this with a folder
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a power cut after its renaming leaves it whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed writes left in a run's folder. Not for folders that several processes write to."""
    for leftover in folder.iterdir():
        # With a number in its name, as a run's earlier files end in .part too; or of safetensors' own.
        if re.fullmatch(r"\..+\.[0-9a-f]+\.part|\.tmp[A-Za-z0-9]{6}", leftover.name) and not leftover.is_dir():
            leftover.unlink(missing_ok=True)


@contextmanager
def stage(folder: Path, replaced: Sequence[str]) -> Iterator[Path]:
    """A new folder within `folder`; when the block succeeds, what it holds replaces the entries `replaced`.

    What fails or is killed leaves all of the old or, from the renaming on, all of the new.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".stage.*.part"):
        remove(leftover)
    staged = folder / f".stage.{secrets.token_hex(4)}.part"
    staged.mkdir()
    try:
        yield staged
        commit(folder, staged, replaced)
    finally:
        remove(staged)
        if made and not any(folder.iterdir()):
            folder.rmdir()


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
            if begun.is_dir():
                with lock_writer(begun):  # or a second one would remove what the first has moved
                    finish_commit(begun.parent)
                    begun.with_name(f".{mark}.lock").unlink(missing_ok=True)


def finish_commit(folder: Path) -> None:
    """Each step may be killed, and done again."""
    ready, moving = folder / READY, folder / MOVING
    if ready.is_dir():
        for name in read_json(ready / REPLACED):
            remove(folder / name)
        ready.rename(moving)
    if moving.is_dir():
        for path in moving.iterdir():
            if path.name != REPLACED:
                path.replace(folder / path.name)
        remove(moving)
        with suppress(OSError):  # not every system can do this with a folder
            sync(folder)


def remove(path: Path) -> None:
    """A file, a link, or a folder with all that it holds; or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def lock_writer(path: Path) -> Iterator[None]:
    """Other processes that would change this file wait for their turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: the locked one is replaced by each write, and a lock would stay on what was replaced.
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def write_text(path: Path, text: str) -> None:
    """As UTF-8, whatever the system's own encoding is."""
    with write_beside(path) as temporary:
        # A name that was no text to the system has halves of characters, which JSON writes and reads in this form.
        temporary.write_bytes(text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises `ValueError` naming the file where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):  # of JSON, of UTF-8, or of too many brackets
        raise DamagedFile(f"{path} is damaged: not JSON") from None


def hash_json(value: Any) -> str:
    """Of what a JSON file holds: the same before it is written and after it is read."""
    read = json.loads(json.dumps(value))  # lists for tuples, and text for keys
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(tensors: dict[str, Tensor], meta: str) -> str:
    """Of the names, types, shapes and values of tensors, and of a text beside them."""
    digest = hashlib.sha256(meta.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any], previous: Path | None = None) -> None:
    """safetensors, with `meta` as JSON in its header, and a hash of both; an older file stays as `previous`."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}  # safetensors refuses all else
    about = json.dumps(meta)
    header = {"attar": about, "sha256": hash_tensors(whole, about)}
    with write_beside(path, previous) as temporary:
        report_full_disk(lambda: save_file(whole, temporary, header), path)


def report_full_disk(write: Callable[[], None], path: Path) -> None:
    """A full disk as an `OSError`, also from safetensors, which has an error of its own for it."""
    try:
        write()
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises `ValueError` naming the file where it is missing, damaged, or not Attar's."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            header, names = file.metadata() or {}, file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None
    if "attar" not in header:
        raise ValueError(f"{path} was not written by attar")
    check_hash(path, tensors, header)
    try:
        meta = json.loads(header["attar"])
    except (ValueError, RecursionError) as error:  # of JSON, of too many digits, or of too many brackets
        raise DamagedFile(f"{path} is damaged: {error}") from None
    if not isinstance(meta, dict):
        raise ValueError(f"{path} was not written by attar")
    return tensors, meta


def check_hash(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Raises `ValueError` where the header's hash is another. Files written before there were hashes have none."""
    unknown = header.keys() - {"attar", "sha256"}  # a hash under a damaged name would be none
    if unknown or ("sha256" in header and header["sha256"] != hash_tensors(tensors, header["attar"])):
        raise DamagedFile(f"{path} is damaged: its content is not what its checksum says")


def has_hash(path: Path) -> bool:
    """Whether tensors that `read_tensors` takes were compared with a hash."""
    with safe_open(path, "pt") as file:
        return "sha256" in (file.metadata() or {})
