"""Failing at every step that changes a disk: each is counted, and the n-th fails."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from attar import files

STEPS = ["replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "chmod"]


class Killed(BaseException):
    """After it nothing more happens on the disk, as after `kill -9`."""


ERRORS = [
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    lambda: OSError(errno.EIO, "Input/output error"),
    MemoryError,
    KeyboardInterrupt,
]
FAULTS = {"error": lambda at: ERRORS[at % len(ERRORS)], "kill": lambda at: Killed}  # what happens at a step
RAISED = (OSError, MemoryError, KeyboardInterrupt, Killed)


@contextmanager
def failing(at: int, fault: Callable[[], BaseException]) -> Iterator[list[str]]:
    """The step of number `at` fails instead of being done; gives the list of steps as they are taken."""
    steps: list[str] = []

    def watch(name: str, step: Callable) -> Callable:
        def watched(*args, **options):
            writes = name != "open" or any(letter in str(args[1:2]) + str(options.get("mode")) for letter in "wax+")
            # What a lock does is no step: it holds no data, and a killed process's lock is free.
            if writes and not str(args[0]).endswith(".lock"):
                steps.append(f"{name} {args[0]}")
                error = fault()
                if len(steps) - 1 == at or (len(steps) > at and isinstance(error, Killed)):
                    raise error
            return step(*args, **options)

        return watched

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, watch(name, getattr(os, name)))
        for module in (builtins, io):
            patch.setattr(module, "open", watch("open", module.open))
        patch.setattr(files, "save_file", watch("save", files.save_file))
        yield steps


def count_steps(work: Callable[[], object]) -> int:
    with failing(10**9, OSError) as steps:
        work()
    return len(steps)
