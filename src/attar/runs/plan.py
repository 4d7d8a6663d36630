"""What a run will cost, from its first two seconds."""

import contextlib
import dataclasses
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import torch

from attar.data.task import Task
from attar.engine.run import Ledger, Run
from attar.methods import Method
from attar.wording import duration, size

CALIBRATION = 2.0  # seconds
COMPILING = {"cpu": 25.0, "cuda": 45.0}  # seconds; a third of that where the compiler's cache knows the network
GAIN = {"fp32": 1.6, "tf32": 1.15, "bf16": 1.45}  # of compiled over eager loops, measured on two cores
TILES = 3.3  # that of bf16 on a CPU which multiplies it in tiles (AMX)


@dataclass(frozen=True)
class Plan:
    """What a run will cost."""

    data: str
    """Its name and size."""
    method: str
    """Its name, and the images per class."""
    flop: int
    """Floating-point operations in networks."""
    seconds: float
    memory: int
    """The most bytes that the process will hold, with what it held before; 0 where the system does not tell."""
    disk: int
    """Bytes."""
    compiles: bool
    flip: bool = False
    """Whether augmentation may mirror images."""

    def __str__(self) -> str:
        how = "compiled, which takes part of that" if self.compiles else "eagerly"
        lines = {
            "data": self.data,
            "method": self.method,
            "work": f"{self.flop / 1e12:.3g} TFLOP in networks",
            "time": f"about {duration(self.seconds)}, {how}",
            "memory": f"about {size(self.memory)}" if self.memory else "not known on this system",
            "disk": f"about {size(self.disk)}",
            "mirror": "images may be mirrored" if self.flip else "images are not mirrored (--flip on allows it)",
        }
        return "\n".join(f"{name:8}{value}" for name, value in lines.items())


class Enough(Exception):
    """The calibration has seen what it needs."""


class Pace:
    """Progress that stops a run after `CALIBRATION` seconds, not counting the first update, and knows the rest.

    It waits for a whole number of `cycle` updates, as the first of a cycle may cost more, but not for long. Without
    cycles it waits until the mean of updates that differ is known to a fifth.
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
        (first, start), (_, now) = self.seen[0], self.seen[-1]  # from the end of the first update, which warms up
        # Five times as long at most: a plan has to be quick, even where it is rougher for that.
        if now - start > CALIBRATION and (self.steady or now - start > 5 * CALIBRATION):
            self.rest = (now - start) / (done - first) * (total - done)
            raise Enough

    @property
    def steady(self) -> bool:
        if self.cycle > 1:
            return (self.seen[-1][0] - self.seen[0][0]) % self.cycle == 0
        spans = [(later - earlier) / (n - m) for (m, earlier), (n, later) in pairwise(self.seen)]
        # The standard error of the mean is below a fifth of it.
        return len(spans) > 1 and statistics.stdev(spans) < 0.2 * statistics.fmean(spans) * len(spans) ** 0.5


def forecast(method: Method, task: Task, ipc: int, run: Run) -> Plan:
    """Run `method` eagerly for two seconds, keep nothing, and extrapolate to the whole of `run`."""
    pace = Pace(method.cycle(ipc) if hasattr(method, "cycle") else 1)
    stages = method.stages(task, run) if hasattr(method, "stages") else []
    first = [stage.flop for stage in stages for _ in range(stage.missing)]  # of each network that is trained first
    # A ledger of its own, so that the trial leaves no trace in `run`.
    trial = dataclasses.replace(run, folder=None, rehearsal=True, progress=pace, ledger=Ledger())
    start = time.perf_counter()
    with contextlib.suppress(Enough):  # not raised by a run that is over before the calibration is
        method(task, ipc, trial)
    seconds, flop = time.perf_counter() - start + pace.rest, sum(trial.ledger.flop.values())
    seen = pace.stage + 1
    if seen <= len(first):  # networks are still being trained, and of the rest only the work is known
        flop += sum(first[seen:])
        seconds *= flop / sum(first[:seen])
    compiles = flop > 0 and run.compiles(flop)
    if compiles:
        seconds = COMPILING[run.device.type] + seconds / gain(run)
    values = ipc * len(run.shard(len(task.classes))) * task.train.x[0].numel()
    # A trial that ended before the first update has seen no checkpoint: images, and moments of an optimiser.
    checkpoint = trial.ledger.checkpoint or 3 * 4 * values * hasattr(method, "updates")
    # float32 images, and about a byte a value in each of two pictures, decoded
    disk = values * 4 + values * getattr(method, "factor", 1) ** 2 * 2 + 2 * checkpoint
    data = f"{task.name}: {len(task.train.y):,} images of {len(task.classes)} classes"
    what = f"{type(method).__name__}, {ipc} per class"
    return Plan(data, what, flop, seconds, peak_memory(run.device), disk, compiles, task.flip)


def gain(run: Run) -> float:
    """How many times as fast compiled loops are."""
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # torch has no public name for it
    return TILES if run.precision == "bf16" and run.device.type == "cpu" and tiles() else GAIN[run.precision]


def peak_memory(device: torch.device) -> int:
    """The most memory so far, in bytes: the device's, or this process's where the device is a CPU.

    0 where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # which not every system has
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
