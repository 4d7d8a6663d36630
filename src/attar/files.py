"""Files that are either whole or not there."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def cache_folder() -> Path:
    """Where Attar keeps what it can make anew: `$ATTAR_CACHE`, else `$XDG_CACHE_HOME/attar`, else `~/.cache/attar`."""
    if own := os.environ.get("ATTAR_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "attar"


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, renamed to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only within a file system is renaming one step; with the process, as several may write.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.touch()
    mode = temporary.stat().st_mode  # as the user's umask has it; safetensors lets nobody else read what it writes
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writes left in a run's folder. Not for folders that several processes write to."""
    for leftover in folder.glob(".*.*[0-9].part"):  # with a process's number: a run's earlier files end in .part too
        leftover.unlink(missing_ok=True)


@contextmanager
def lock_writer(path: Path) -> Iterator[None]:
    """Other processes that would change this file wait for their turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: the locked one is replaced by each write, and a lock would stay on what was replaced.
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def write_json(path: Path, value: Any) -> None:
    with write_beside(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises `ValueError` naming the file where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # of JSON, or of UTF-8
        raise ValueError(f"{path} is damaged: not JSON") from None


def write_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """safetensors, with `meta` as JSON in its header."""
    with write_beside(path) as temporary:
        report_full_disk(  # contiguous, as safetensors refuses all else
            lambda: save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"attar": json.dumps(meta)}),
            path,
        )


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
            names, meta = file.keys(), (file.metadata() or {}).get("attar")
            tensors = {name: file.get_tensor(name) for name in names}
        if meta is None:
            raise ValueError(f"{path} was not written by attar")
        return tensors, json.loads(meta)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
