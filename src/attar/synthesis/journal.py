"""What a run tells of each update: `metrics.jsonl`, and the finite guard over the losses."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.engine.run import Run
from attar.files import write_text

METRICS = "metrics.jsonl"
GUARD_EVERY = 100  # updates between looks at a GPU's losses; each look waits for the device


class Journal:
    """Losses on their way to `metrics.jsonl`, and the finite guard over them."""

    def __init__(self, run: Run):
        self.path = run.folder and run.folder / METRICS
        self.pending: list[tuple[int, Tensor]] = []
        self.last = float("nan")
        self.start = time.perf_counter()

    def keep(self, done: int) -> None:
        """Drop the lines of updates that the checkpoint does not hold; they will be made again."""
        if self.path is None:
            return
        # A kill falls between a checkpoint and the lines written after it.
        kept = [entry for entry in read_metrics(self.path.parent) if entry["update"] < done]
        self.start -= kept[-1]["seconds"] if kept else 0.0
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def add(self, update: int, loss: Tensor) -> None:
        self.pending.append((update, loss))
        if loss.device.type == "cpu" or len(self.pending) >= GUARD_EVERY:
            self.check()

    def check(self) -> None:
        """Write what is pending. Raises `ValueError` at the first loss that is not finite."""
        pending, self.pending = self.pending, []
        seconds = round(time.perf_counter() - self.start, 3)
        lines: list[str] = []
        losses = torch.stack([loss for _, loss in pending]).tolist() if pending else []  # one wait for the device
        for (update, _), self.last in zip(pending, losses, strict=True):
            if not math.isfinite(self.last):
                self.append(lines)
                raise ValueError(
                    f"the loss became {self.last} at update {update}: lower the step size (lr), or look at the data"
                )
            lines.append(json.dumps({"update": update, "loss": self.last, "seconds": seconds}) + "\n")
        self.append(lines)

    def append(self, lines: list[str]) -> None:
        if self.path is not None and lines:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """What a run has written of each update: its number, loss, and seconds since the run began, pauses left out.

    What follows a damaged line is left out, and that is logged: no run depends on it.
    """
    path = folder / METRICS
    entries: list[dict[str, Any]] = []
    whole, _, _ = (path.read_bytes() if path.is_file() else b"").rpartition(b"\n")  # a kill may have cut the last line
    for line in whole.splitlines():
        entry = parse_line(line)
        if entry is None or (entries and entry["update"] <= entries[-1]["update"]):
            told = f"{path} is damaged after {len(entries)} lines: what follows is left out"
            logging.getLogger("attar").warning(told)
            break
        entries.append(entry)
    return entries


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The entry of an update, `None` where the line holds none."""
    try:
        entry = json.loads(line)
        numbers = [entry[key] for key in ("update", "loss", "seconds")]
        whole = type(numbers[0]) is int and all(type(x) in (int, float) and math.isfinite(x) for x in numbers)
    except (ValueError, RecursionError, TypeError, LookupError, OverflowError):
        return None
    return entry if whole else None
