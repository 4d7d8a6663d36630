"""What a run will cost, from its first two seconds."""

import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from attar.data.task import Task
from attar.engine.run import Ledger, Run
from attar.files import read_tensors
from attar.methods import Method
from attar.synthesis.checkpoint import CHECKPOINT
from attar.wording import duration, size

CALIBRATION = 2.0  # seconds
COMPILING = {"cpu": 25.0, "cuda": 45.0}  # seconds; a third of that where the compiler's cache knows the network
GAIN = {"fp32": 1.6, "tf32": 1.15, "bf16": 1.45}  # of compiled over eager loops, measured on two cores
TILES = 3.3  # that of bf16 on a CPU which multiplies it in tiles (AMX)


@dataclass(frozen=True)
class Plan:
    """Floating-point operations, seconds, the most memory in bytes (of the process, what it held before included), and bytes on disk."""

    flop: int
    seconds: float
    memory: int
    disk: int
    compiles: bool

    def __str__(self) -> str:
        how = "compiled, which takes part of that" if self.compiles else "eagerly"
        lines = {
            "work": f"{self.flop / 1e12:.3g} TFLOP in networks",
            "time": f"about {duration(self.seconds)}, {how}",
            "memory": f"about {size(self.memory)}",
            "disk": f"about {size(self.disk)}",
        }
        return "\n".join(f"{name:8}{value}" for name, value in lines.items())


class Enough(Exception):
    """The calibration has seen what it needs."""


class Pace:
    """Progress that stops a run after `CALIBRATION` seconds, not counting the first update, and knows the rest.

    It waits, but not for long, until a whole number of `cycle` updates has been seen, the first of which may cost more; or where there
    are no cycles, until updates that differ have told their mean to a fifth.
    """

    def __init__(self, cycle: int = 1) -> None:
        self.cycle = cycle
        self.rest = 0.0
        self.stage = 0  # networks that are trained first begin to count anew, and so do the updates after them
        self.seen: list[tuple[int, float]] = []

    def __call__(self, done: int, total: int, loss: float) -> None:
        if self.seen and done <= self.seen[-1][0]:
            self.stage, self.seen = self.stage + 1, []
        self.seen.append((done, time.perf_counter()))
        (first, start), (_, now) = self.seen[0], self.seen[-1]
        if now - start > CALIBRATION and (self.steady or now - start > 5 * CALIBRATION):
            self.rest = (now - start) / (done - first) * (total - done)
            raise Enough

    @property
    def steady(self) -> bool:
        if self.cycle > 1:
            return (self.seen[-1][0] - self.seen[0][0]) % self.cycle == 0
        spans = [(later - earlier) / (n - m) for (m, earlier), (n, later) in pairwise(self.seen)]
        return len(spans) > 1 and statistics.stdev(spans) < 0.2 * statistics.fmean(spans) * len(spans) ** 0.5


def forecast(method: Method, task: Task, ipc: int, run: Run) -> Plan:
    """Run `method` eagerly, in a folder soon gone, for two seconds, and extrapolate to the whole of `run`."""
    pace = Pace(getattr(method, "cycle", 1))
    missing, each = method.stages(task, run) if hasattr(method, "stages") else (0, 0)
    with tempfile.TemporaryDirectory(prefix="attar-") as temporary:
        folder = Path(temporary)
        trial = dataclasses.replace(run, folder=folder, rehearsal=True, progress=pace, ledger=Ledger())
        start = time.perf_counter()
        with contextlib.suppress(Enough):
            method(task, ipc, trial)
        seconds, flop = time.perf_counter() - start + pace.rest, sum(trial.ledger.flop.values())
        checkpoint = checkpoint_bytes(folder / CHECKPOINT)
    seen = pace.stage + 1
    if seen <= missing:  # networks are still being trained, and of the rest only the work is known
        flop += (missing - seen) * each
        seconds *= flop / (seen * each)
    compiles = flop > 0 and run.compiles(flop)
    if compiles:
        seconds = COMPILING[run.device.type] + seconds / gain(run)
    values = ipc * len(run.shard(len(task.classes))) * task.train.x[0].numel()
    # float32 images, and about a byte a value in each of two pictures, decoded
    disk = values * 4 + values * getattr(method, "factor", 1) ** 2 * 2 + checkpoint
    return Plan(flop, seconds, peak_memory(run.device), disk, compiles)


def gain(run: Run) -> float:
    """How many times as fast compiled loops are."""
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # torch has no public name for it
    return TILES if run.precision == "bf16" and run.device.type == "cpu" and tiles() else GAIN[run.precision]


def checkpoint_bytes(checkpoint: Path) -> int:
    """What checkpoints take, where the trial came so far as to write one: what is learned, twice as much of moments
    that an optimiser may keep, and what outlives episodes."""
    if not checkpoint.exists():
        return 0
    tensors, _ = read_tensors(checkpoint)
    bytes = {
        part: sum(t.nbytes for name, t in tensors.items() if name.startswith(part))
        for part in ("learned.syn.", "learned.state.")
    }
    return 3 * bytes["learned.syn."] + bytes["learned.state."]


def peak_memory(device: torch.device) -> int:
    """The most memory so far, in bytes: the device's, or this process's where the device is a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on every system

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
