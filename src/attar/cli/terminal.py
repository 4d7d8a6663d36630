"""The terminal around a command: streams that take any text, and an end in one sentence."""

import contextlib
import io
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from typing import NoReturn

from attar.wording import cut, in_a_line, make_visible


def open_streams() -> None:
    """Standard streams that are there, and an output that takes any text.

    Who starts a command may have closed them. What a terminal's encoding lacks is replaced.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr escapes by itself
        sys.stdout.reconfigure(errors="replace")


def say(sentence: str) -> None:
    """A line on stderr. Where nobody can be told, work goes on."""
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def confirm(question: str) -> bool:
    """Whether a person says yes; a script has nobody to ask, and a terminal that is gone answers nothing."""
    try:
        return sys.stdin.isatty() and input(f"{question} [y/N] ").lower().startswith("y")
    except (EOFError, OSError, ValueError):  # the last where the stream is closed, or gives no text
        return False


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside the block SIGTERM is Ctrl-C: a cluster that takes its machine back gets a saved run."""
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Whatever ends the block early is told in a sentence.

    The exit code is 2 for bad input and for files that cannot be read or written, 130 after Ctrl-C, 1 for all else.
    """
    try:
        yield
        sys.stdout.flush()  # so that a closed pipe raises here, where it is handled
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        code, sentence = explain(error)
        say(f"attar: {make_visible(cut(sentence))}")
        raise SystemExit(code) from None


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the sentence of what ended a command."""
    if "DefaultCPUAllocator" in str(error) or isinstance(error, MemoryError):  # torch has no type of its own for it
        told = "fewer images per class, a smaller network or fewer networks side by side take less"
        return 1, f"the memory of this machine is not enough ({in_a_line(error)}): {told}"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported for this
        told = "let nothing else run on it, or take fewer images per class or --device cpu"
        return 1, f"the memory of the GPU is not enough ({in_a_line(error)}): {told}"
    if isinstance(error, ValueError | OSError):
        return 2, str(error) or in_a_line(error)
    return 1, f"stopped by an error inside Attar, {in_a_line(error)}; the traceback is in {write_log(error)}"


def write_log(error: Exception) -> str:
    """Where the traceback was written; a word for stderr where no file can be."""
    text = "".join(traceback.format_exception(error))
    try:
        number, name = tempfile.mkstemp(".log", "attar-")
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        return name
    except OSError:
        say(text)
        return "the lines above"
