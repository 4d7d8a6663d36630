"""Files that are either whole or not there."""

import atexit
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from attar.arguments import resolve_home
from attar.locks import lock_writer

UNKEPT: set[Path] = set()  # caches that cannot be written, and of which that was said


class DamagedFile(ValueError):
    """A file that is not as it was written."""


def cache_folder() -> Path:
    """Where Attar keeps what it can make anew: `$ATTAR_CACHE`, else `$XDG_CACHE_HOME/attar`, else `~/.cache/attar`.

    Without a home it is a folder that goes with the process, which is said. Raises `ValueError` where a variable names
    the home of nobody.
    """
    for variable, inside in (("ATTAR_CACHE", ""), ("XDG_CACHE_HOME", "attar")):
        if base := os.environ.get(variable):
            return resolve_home(variable, Path(base)) / inside
    try:
        return Path.home() / ".cache" / "attar"
    except RuntimeError:  # a user without a name, as in containers
        return make_passing_cache()


def make_passing_cache() -> Path:
    """A cache that goes with the process; those that it starts find it as `$ATTAR_CACHE`."""
    folder = make_passing_folder("attar-cache-")
    os.environ["ATTAR_CACHE"] = str(folder)
    told = "there is no home folder: trained networks and decoded images are not kept (ATTAR_CACHE names a folder)"
    logging.getLogger("attar").warning(told)
    return folder


def make_passing_folder(prefix: str) -> Path:
    """A new temporary folder that goes with the process. Nobody else can write to it, and so put code there."""
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


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


def check_writable(folder: Path) -> None:
    """Raises `ValueError` where the folder cannot be made, or nothing can be written into it."""
    there = next(path for path in [folder, *folder.absolute().parents] if os.path.lexists(path))
    if not there.is_dir():
        raise ValueError(f"{there} is a file, not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"nothing can be written to {there}, which is read-only")


def sweep(folder: Path) -> None:
    """Remove what killed writes left in a folder. Only for who is alone in writing to it."""
    for leftover in folder.iterdir():
        # With a number in its name, as a run's earlier files end in .part too; or of safetensors' own.
        if re.fullmatch(r"\..+\.[0-9a-f]+\.part|\.tmp[A-Za-z0-9]{6}", leftover.name) and not leftover.is_dir():
            leftover.unlink(missing_ok=True)


@contextmanager
def make_folder(folder: Path) -> Iterator[None]:
    """The folder is there within the block. One that is made here and stays empty is removed again."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


def remove(path: Path) -> None:
    """A file, a link, or a folder with all that it holds; or nothing."""
    if is_own_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_own_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to somebody else's."""
    return path.is_dir() and not path.is_symlink()


@contextmanager
def lock_cache(folder: Path) -> Iterator[None]:
    """One process at a time writes to a folder of the cache, which is made; what killed ones left is removed first."""
    with lock_writer(folder / "cache"):
        sweep(folder)
        yield


def check_cache() -> bool:
    """Whether the cache can be written. If not, that is said once: before work whose result would be kept there."""
    try:
        check_writable(cache_folder())
    except ValueError as error:
        say_unkept(error)
        return False
    return True


def keep(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write to the cache what can be made anew. Where that fails it is said once, and nothing is kept."""
    try:
        with lock_cache(path.parent):
            write_tensors(path, tensors, meta)
    except OSError as error:
        say_unkept(error)


def say_unkept(error: Exception) -> None:
    """Once for a cache, as every network and every set of images would say it again."""
    if (folder := cache_folder()) not in UNKEPT:
        UNKEPT.add(folder)
        where = f"{folder} (ATTAR_CACHE names another folder)"
        told = f"trained networks and decoded images cannot be kept for other runs in {where}"
        logging.getLogger("attar").warning(f"{told}: {error}")


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


def with_checksum(entries: dict[str, Any]) -> dict[str, Any]:
    """What a JSON file is to hold, and a hash of it."""
    return entries | {"checksum": hash_json(entries)}


def has_own_checksum(entries: dict[str, Any]) -> bool:
    """Whether entries that were read are as `with_checksum` gave them."""
    rest = {key: value for key, value in entries.items() if key != "checksum"}
    return entries.get("checksum") == hash_json(rest)


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
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum")


def has_hash(path: Path) -> bool:
    """Whether tensors that `read_tensors` takes were compared with a hash."""
    with safe_open(path, "pt") as file:
        return "sha256" in (file.metadata() or {})
