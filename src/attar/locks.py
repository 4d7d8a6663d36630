"""Processes that wait for each other, or learn that another one is at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def lock_writer(path: Path) -> Iterator[None]:
    """Other processes that would change this file wait for their turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: the locked one is replaced by each write, and a lock would stay on what was replaced.
    with hold_lock(path.with_name(f".{path.name}.lock")):
        yield


@contextmanager
def hold_lock(lock: Path, timeout: float = -1.0) -> Iterator[None]:
    """Alone among processes with this lock, a file that is deleted at the end.

    Raises `filelock.Timeout` where another process holds it for longer than `timeout` seconds (default: for ever).
    """
    held = FileLock(lock, timeout)
    held.acquire()
    try:
        yield
    finally:
        deleted = delete_lock(lock)  # while it is held: once released it may be another process's
        held.release()
        if not deleted:  # some systems delete no file that is open; there another process's stays
            delete_lock(lock)


def is_held(lock: Path) -> bool:
    """Whether a process holds it now, as far as this one may ask. That of a killed process is free, though it stays."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, 0.0):
            return False
    except (Timeout, OSError):  # the second where the file is somebody else's
        return True


def delete_lock(lock: Path) -> bool:
    """Whether it is gone. One that stays does no harm: a lock is free when nobody holds it."""
    try:
        lock.unlink(missing_ok=True)
    except OSError:
        return False
    return True
