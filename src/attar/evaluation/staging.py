"""Data that the processes of an evaluation share: a temporary folder that does not outlive it for long."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from attar.locks import hold_lock

PREFIX, LOCK = "attar-", ".lock"


@contextmanager
def stage() -> Iterator[Path]:
    """A temporary folder, locked while it is in use; what killed evaluations left is removed first."""
    sweep_staged()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, FileLock(Path(folder) / LOCK):
        yield Path(folder)


def sweep_staged() -> None:
    """Remove folders whose evaluation has ended: nobody holds their lock."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        if not is_own(lock.parent):  # the folder for temporary files may be shared
            continue
        try:
            with hold_lock(lock, timeout=0.0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, OSError):
            continue
        shutil.rmtree(lock.parent, ignore_errors=True)  # what is left where a system deletes no file that is open


def is_own(folder: Path) -> bool:
    """Whether it is a folder of this user; where a system has no numbers for users, its temporary files are theirs."""
    return not folder.is_symlink() and (not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid())
