"""Telling a person how far a run is: a bar on a terminal, a plain line every ten seconds elsewhere."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from attar.cli.terminal import say
from attar.wording import duration, make_visible

LINE_EVERY = 10.0  # seconds between lines, and those that a first update may take unmentioned


class Progress:
    """Called as `progress(done, total, loss)`; use as a context manager, so that the bar is closed."""

    def __init__(self, what: str):
        self.what = make_visible(what)
        # When the first update of a stage began and ended, when a line was last printed, when an update last came.
        self.begun = self.start = self.told = self.seen = time.monotonic()
        self.first = self.last = -1
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():  # not stdout, which has the results and may be piped
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            # One text for rate and time left, on a terminal as elsewhere: none of rich's own columns.
            what, state = (TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[state]"))
            self.bar = Bar(what, BarColumn(), state, console=Console(stderr=True, markup=False, emoji=False))
            self.bar.start()
            self.bar.add_task(self.what, state="")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int, loss: float) -> None:
        now = time.monotonic()
        if self.first < 0 or done < self.last:  # a resumed run, or another stage: the rate counts from here
            self.first, self.start, self.begun = done, now, self.seen
            if self.bar is not None and now - self.begun >= LINE_EVERY:
                # A line above the bar, which would write over it.
                self.bar.console.print(f"{self.what}: {self.state(done, total, loss, now)}", highlight=False)
        self.last, self.seen = done, now
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, total=total, state=self.state(done, total, loss, now))
        elif now - self.told >= LINE_EVERY:
            self.told = now
            say(f"{self.what}: {self.state(done, total, loss, now)}")

    def state(self, done: int, total: int, loss: float, now: float) -> str:
        """`120/500, 3.1/s, loss 2.24, 2 min 3 s left`, without what is not known."""
        rate = (done - self.first) / max(now - self.start, 1e-9)
        parts = [f"{done}/{total}"]
        if done == self.first and now - self.begun >= LINE_EVERY:
            parts.append(f"the first after {duration(now - self.begun)}, compiling included")
        if rate > 0:
            parts.append(f"{rate:.1f}/s")
        if not math.isnan(loss):
            parts.append(f"loss {loss:.4g}")
        if rate > 0 and done < total:
            parts.append(f"{duration((total - done) / rate)} left")
        return ", ".join(parts)


@contextmanager
def in_turn() -> Iterator[Callable[[str], Progress]]:
    """Progress of one part after another. Asking for the next part's closes the bar of the one before."""
    with ExitStack() as bars:

        def watch(what: str) -> Progress:
            bars.close()
            return bars.enter_context(Progress(what))

        yield watch
