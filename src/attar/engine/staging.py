"""Data that processes share: files in a temporary folder that does not outlive the work for long."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from attar.files import hash_tensors, read_tensors, write_tensors
from attar.locks import hold_lock

PREFIX, LOCK = "attar-", ".lock"
YOUNG = 60  # seconds: who made such a folder may not have come to lock it


class Part(NamedTuple):
    """Images and labels in a file."""

    path: Path
    hash: str


def write_part(path: Path, x: Tensor, y: Tensor) -> Part:
    """Images and labels in a file, which processes share."""
    tensors = {"x": x.contiguous(), "y": y.contiguous()}
    write_tensors(path, tensors, {})
    return Part(path, hash_tensors(tensors, ""))  # not of the file, whose header has no certain order


def read_part(part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and the labels, on `device`."""
    tensors, _ = read_tensors(part.path)
    return tensors["x"].to(device), tensors["y"].to(device)


@contextmanager
def staging_folder() -> Iterator[Path]:
    """A temporary folder, locked while it is in use; what killed processes left is removed first."""
    sweep_staged()
    # What cannot be removed is left to the next sweep: the work is done.
    opened = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with opened as folder, FileLock(Path(folder) / LOCK):
        yield Path(folder)


def sweep_staged() -> None:
    """Remove folders whose work has ended: nobody holds their lock."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        try:
            # The folder for temporary files may be shared.
            if not is_own(lock.parent) or time.time() - lock.parent.stat().st_mtime < YOUNG:
                continue
            with hold_lock(lock, timeout=0.0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, OSError):
            continue
        shutil.rmtree(lock.parent, ignore_errors=True)  # what is left where a system deletes no file that is open


def is_own(folder: Path) -> bool:
    """Whether it is a folder of this user; where a system has no numbers for users, its temporary files are theirs."""
    return not folder.is_symlink() and (not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid())
