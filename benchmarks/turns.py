"""Both versions of a path in turns, each in processes of its own; the machine's ceilings are measured in every turn."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from courses import FUNCTIONS, Course
from filelock import FileLock
from quality import commit

from attar.engine.precision import Precision, default_precision, use_precision
from attar.engine.run import Run
from attar.rng import Rng
from attar.runs.plan import peak_memory


def precisions(device: str) -> tuple[Precision, ...]:
    """Those in which the hardware multiplies."""
    if device == "cuda":
        return "bf16", "tf32", "fp32"
    return ("bf16", "fp32") if default_precision(torch.device(device)) == "bf16" else ("fp32",)


WARM_UP = 2  # turns in which compilers are at work: IDC's first update trains no network


class Stop(Exception):
    pass


def work(
    line: Connection, function: str, settings: dict[str, Any], precision: Precision, device: str, threads: int
) -> None:
    """Runs the path; after each turn says how long it took and the most memory so far, and waits."""
    torch.set_num_threads(threads)
    start = time.perf_counter()

    def tick(times: int = 1) -> None:
        nonlocal start
        if device == "cuda":
            torch.cuda.synchronize()
        line.send(((time.perf_counter() - start) / times, peak_memory(torch.device(device))))
        if line.recv() == "stop":
            raise Stop
        start = time.perf_counter()

    line.recv()
    start = time.perf_counter()
    compiled = "off" if "literal" in function else "on"
    run = Run(Rng.of(0), device=torch.device(device), precision=precision, compile=compiled)
    with use_precision(precision):
        try:
            FUNCTIONS[function](**settings, run=run, tick=tick)
        except Stop:
            line.send("stopped")


class Side:
    """One version of a path, in processes of its own."""

    def __init__(self, function: str, path: Course, precision: Precision, device: str, networks: int = 1):
        self.device = device
        context = multiprocessing.get_context("spawn")
        processes = min(networks, torch.get_num_threads()) if device == "cpu" else 1
        threads, self.networks = torch.get_num_threads() // processes, processes if device == "cpu" else networks
        pairs = [context.Pipe() for _ in range(processes)]
        self.processes = [
            context.Process(target=work, args=(far, function, path.settings, precision, device, threads), daemon=True)
            for _, far in pairs
        ]
        self.lines, self.times, self.memory = [near for near, _ in pairs], [], 0
        for process in self.processes:
            process.start()

    def begin(self) -> None:
        for line in self.lines:
            line.send("go")

    def end(self) -> None:
        """Seconds of one turn are those for one network; several are at work at the same time."""
        told = [line.recv() for line in self.lines]
        self.memory = max(self.memory, sum(memory for _, memory in told))
        self.times.append(max(seconds for seconds, _ in told) / self.networks)

    def turn(self) -> None:
        self.begin()
        self.end()

    def close(self) -> None:
        for line, process in zip(self.lines, self.processes, strict=True):
            line.send("stop")
            line.recv()
            process.join()


def ceilings(device: str) -> dict[str, list[float]]:
    """Operations a second of large matrix products in each precision, and bytes a second of large copies."""
    found = {}
    for name in precisions(device):
        n, dtype = 2048 if device == "cpu" else 8192, torch.bfloat16 if name == "bf16" else torch.float32
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        with use_precision(name):
            found[name] = rates(lambda a=a, b=b: a @ b, 2 * n**3, device)
    source = torch.ones(2**28, dtype=torch.uint8, device=device)  # pages that nobody has written are one and the same
    target = torch.empty_like(source)
    found["bytes"] = rates(lambda: target.copy_(source), 2 * len(source), device)
    return found


def rates(function: Callable[[], Any], amount: float, device: str, times: int = 5) -> list[float]:
    """The amount a second, of each time after a first, in which compilers may be at work."""
    found = []
    for _ in range(1 + times):
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(amount / (time.perf_counter() - start))
    return found[1:]


def measure(path: Course, device: str, seconds: float) -> list[dict[str, Any]]:
    """A record for each precision; the literal loop is in fp32 and takes its turns with all."""
    run_in = precisions(device) if path.flop else ("fp32",)
    ours = [Side(path.ours, path, precision, device, path.networks) for precision in run_in]
    literal = Side(path.literal, path, "fp32", device)
    sides = [*ours, literal]
    if device == "cuda":  # there are processors enough for all to compile at once
        for side in sides:
            side.begin()
        for side in sides:
            side.end()
    with alone():
        for side in sides:
            for _ in range(WARM_UP):
                side.turn()
            side.times.clear()
        limits = take_turns(sides, seconds)
    for side in sides:
        side.close()
    found = []
    for precision, side in zip(run_in, ours, strict=True):
        pace = statistics.median(side.times)
        beside = [statistics.harmonic_mean(limit[precision if path.flop else "bytes"]) for limit in limits]
        shares = [(path.flop or path.bytes) / own / rate for own, rate in zip(side.times, beside, strict=True)]
        found.append(
            {
                "path": path.name,
                "commit": commit(),
                "precision": precision,
                "seconds": pace,
                "literal seconds": statistics.median(literal.times),
                "ratio": statistics.median(theirs / own for own, theirs in zip(side.times, literal.times, strict=True)),
                "turns": len(side.times),
                "flop": path.flop,
                "flop per second": path.flop / pace,
                "memory": side.memory,
                "literal memory": literal.memory,
                "ceilings": {name: max(max(limit[name]) for limit in limits) for name in limits[0]},
                "share beside": statistics.median(shares),
            }
        )
    return found


def alone() -> FileLock:
    """Where several benchmarks are under way, one measures at a time."""
    return FileLock(Path(tempfile.gettempdir()) / "attar-benchmark.lock")


def take_turns(sides: Sequence[Side], seconds: float) -> list[dict[str, list[float]]]:
    """Rounds of one turn of each, at least one, until `seconds` are over; the ceilings beside each."""
    limits, begun = [], time.perf_counter()
    while not limits or time.perf_counter() - begun < seconds:
        limits.append(ceilings(sides[0].device))
        for side in sides:
            side.turn()
    return limits
