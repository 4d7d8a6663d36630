"""What a run will cost, from its first two seconds."""

import contextlib
import dataclasses
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from attar.data.task import Task
from attar.engine.run import Ledger, Run
from attar.methods import Method
from attar.wording import duration, size

CALIBRATION = 2.0  # seconds
ENDLESS = 10**6  # updates: too many for a calibration to reach the last
SHORT = 10  # minutes, which are proposed where a run takes LONG
LONG = 30 * 60.0  # seconds, above which a plan says what is quicker
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
    flip: bool | None = False
    """Whether augmentation may mirror images; `None` for rows of a table, which are not augmented."""
    updates: int = 0
    """0 for a method that makes none."""
    each: float = 0.0
    """Seconds of an update; 0 where there are none, or the run was over before one could be timed."""

    @property
    def first(self) -> float:
        """Seconds before the first update: compiling, and networks that are trained first."""
        return max(0.0, self.seconds - self.updates * self.each)

    @property
    def quicker(self) -> str:
        """What takes less time, where a run takes over half an hour; else nothing."""
        if self.seconds <= LONG:
            return ""
        if self.each and (fits := int((60 * SHORT - self.first) / self.each)) > 0:
            return f"--minutes {SHORT} makes as many updates as fit, about {fits:,} of {self.updates:,}"
        return "another method: `attar list methods` says what each needs before its first update"

    def __str__(self) -> str:
        how = "compiled, which takes part of that" if self.compiles else "eagerly"
        lines = {
            "data": self.data,
            "method": self.method,
            "work": f"{self.flop / 1e12:.3g} TFLOP in networks",
            "time": f"about {duration(self.seconds)}, {how}",
            "memory": f"about {size(self.memory)}" if self.memory else "not known on this system",
            "disk": f"about {size(self.disk)}",
        }
        mirrored = "images may be mirrored" if self.flip else "images are not mirrored (--flip on allows it)"
        lines |= {"augment": "rows of a table are not augmented"} if self.flip is None else {"mirror": mirrored}
        lines |= {"quicker": self.quicker} if self.quicker else {}
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
        self.rest = self.each = 0.0
        self.stage = 0  # networks that are trained first begin to count anew, and so do the updates after them
        self.seen: list[tuple[int, float]] = []

    def __call__(self, done: int, total: int, loss: float) -> None:
        if self.seen and done <= self.seen[-1][0]:
            self.stage, self.seen = self.stage + 1, []
        self.seen.append((done, time.perf_counter()))
        (first, start), (_, now) = self.seen[0], self.seen[-1]  # from the end of the first update, which warms up
        # Five times as long at most: a plan has to be quick, even where it is rougher for that.
        if now - start > CALIBRATION and (self.steady or now - start > 5 * CALIBRATION):
            self.each = (now - start) / (done - first)
            self.rest = self.each * (total - done)
            raise Enough

    @property
    def steady(self) -> bool:
        if self.cycle > 1:
            return (self.seen[-1][0] - self.seen[0][0]) % self.cycle == 0
        spans = [(later - earlier) / (n - m) for (m, earlier), (n, later) in pairwise(self.seen)]
        # The standard error of the mean is below a fifth of it.
        return len(spans) > 1 and statistics.stdev(spans) < 0.2 * statistics.fmean(spans) * len(spans) ** 0.5


def forecast(method: Method, task: Task, ipc: int | None, run: Run) -> Plan:
    """Run `method` eagerly for two seconds, keep nothing, and extrapolate to the whole of `run`."""
    pace = Pace(method.cycle(ipc) if hasattr(method, "cycle") else 1)
    stages = method.stages(task, run) if hasattr(method, "stages") else []
    first = [stage.flop for stage in stages for _ in range(stage.missing)]  # of each network that is trained first
    # A ledger of its own, so that the trial leaves no trace in `run`.
    trial = dataclasses.replace(run, folder=None, rehearsal=True, progress=pace, ledger=Ledger())
    start = time.perf_counter()
    made = None
    with contextlib.suppress(Enough):  # not raised by a run that is over before the calibration is
        made = method(task, ipc, trial)
    seconds, flop = time.perf_counter() - start + pace.rest, sum(trial.ledger.flop.values())
    seen, each, updates = pace.stage + 1, pace.each, getattr(method, "updates", 0)
    if seen <= len(first):  # networks are still being trained, and of the rest only the work is known
        flop += sum(first[seen:])
        seconds *= flop / sum(first[:seen])
        each = seconds * (1 - sum(first) / flop) / updates if updates else 0.0
    compiles = flop > 0 and run.compiles(flop)
    if compiles:
        seconds, each = COMPILING[run.device.type] + seconds / gain(run), each / gain(run)
    if ipc is None:  # found by the method, and at most all
        stored, budget = len(task.train.y if made is None else made.labels), "as many images as it finds"
    else:
        stored, budget = ipc * len(run.shard(len(task.classes))), f"{ipc} per class"
    values = stored * task.train.x[0].numel()
    # A trial that ended before the first update has seen no checkpoint: images, and moments of an optimiser.
    checkpoint = trial.ledger.checkpoint or 3 * 4 * values * (updates > 0)
    # float32 images, and about a byte a value in each of two pictures, decoded
    disk = values * 4 + values * getattr(method, "factor", 1) ** 2 * 2 + 2 * checkpoint
    data = f"{task.name}: {len(task.train.y):,} {task.called}s of {len(task.classes)} classes"
    flip = task.flip if task.columns is None else None
    what = f"{type(method).__name__}, {budget}" + f", {updates:,} updates" * (updates > 0)
    return Plan(data, what, flop, seconds, peak_memory(run.device), disk, compiles, flip, updates, each)


def fit_updates(method: Any, task: Task, ipc: int | None, run: Run, minutes: float) -> int:
    """How many updates of `method` take so many minutes, with what comes before the first.

    Raises `ValueError` where not even one fits.
    """
    made = forecast(dataclasses.replace(method, updates=ENDLESS), task, ipc, run)
    fits = int((60 * minutes - made.first) / made.each)
    if fits < 1:
        told = f"{type(method).__name__} takes about {duration(made.first + made.each)} until its first update is made"
        first = hasattr(method, "stages") and any(stage.missing for stage in method.stages(task, run))
        hint = ": m3d is a method that trains no networks first" if first else ""
        raise ValueError(f"minutes is {minutes:g}, but {told}{hint}")
    return fits


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
