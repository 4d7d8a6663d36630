"""How near Attar's loops are to the machine's limits, and how far from the published loops.

    python benchmarks/speed.py [--only PATTERN] [--device cpu] [--seconds 20]
    python benchmarks/speed.py --table            # what is there, as Markdown; of another machine with --name
    python benchmarks/speed.py --growth           # how it grows with the data, as Markdown

Each path runs beside its literal version (benchmarks/literal): one process each, which take turns, so that neither disturbs
the other and noise of the machine meets both. The machine's ceilings (a large matrix product, a large copy) are measured in
every turn too. What results/speed holds already is skipped. Images are random: speed does not depend on what they show.
"""

import dataclasses
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line has it: who is not at turn must not spin for long

import torch
import tyro
from filelock import FileLock
from quality import HOME, commit, machine
from tyro.conf import arg

from attar.augment import Augment, apply
from attar.files import read_json, write_json
from attar.fit import TRAINING, fit_together
from attar.methods import find
from attar.methods.herding import herd
from attar.methods.k_center import farthest_first
from attar.network import Weights, network
from attar.planning import peak
from attar.protocol import DSA, PROTOCOLS
from attar.replay import Replay
from attar.rng import Rng
from attar.run import Precision, Run, default_precision, full_precision, keep_freed_memory, sliced
from attar.task import Examples, Task

RESULTS = HOME / "results" / "speed"
Tick = Callable[..., None]
IN_A_ROW = {"cpu": 1, "cuda": 20}  # updates in a turn: a GPU works on one while the host prepares the next; the literal loop waits for each
EACH = 500  # real images a class


@dataclass(frozen=True)
class Course:
    """`flop` floating-point operations in one turn, or where the memory is what limits, `bytes` to read and to write.

    `ours` and `literal` name functions here, called with `settings`.
    """

    name: str
    ours: str
    literal: str
    flop: int
    settings: dict[str, Any]
    bytes: int = 0

    @property
    def networks(self) -> int:
        """How many are trained at once."""
        return self.settings.get("networks", 1)


def task_of(side: int, classes: int, device: torch.device) -> Task:
    """Random images: grey at 28 pixels, colour above."""
    channels = 1 if side == 28 else 3
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> Examples:
        x = torch.randint(256, (n * classes, channels, side, side), generator=generator, dtype=torch.uint8)
        return Examples(x, torch.arange(classes).repeat_interleave(n))

    shape = (channels, side, side)
    names = tuple(f"{c:03}" for c in range(classes))
    task = Task("noise", part(EACH), part(2), names, (0.5,) * channels, (0.29,) * channels, network("convnet", shape, classes))
    return task.to(device)


@cache
def flop(side: int) -> int:
    return network("convnet", (1 if side == 28 else 3, side, side), 10).flop((1 if side == 28 else 3, side, side))


def precisions(device: str) -> tuple[Precision, ...]:
    """Those in which the hardware multiplies."""
    if device == "cuda":
        return "bf16", "tf32", "fp32"
    return ("bf16", "fp32") if default_precision(torch.device(device)) == "bf16" else ("fp32",)


# What runs in a turn: `tick` is called after each turn's work, with how often it was done, and waits for the next turn.


def condense(side: int, classes: int, method: str, ipc: int, run: Run, tick: Tick) -> None:
    row = IN_A_ROW[run.device.type]

    def progress(done: int, *_: Any) -> None:
        if done % row == 0:
            tick(row)

    find(method)(updates=10**6)(task_of(side, classes, run.device), ipc, dataclasses.replace(run, progress=progress))


def literal_condense(side: int, classes: int, method: str, ipc: int, run: Run, tick: Tick) -> None:
    from literal import matching

    getattr(matching, method)(find(method)(updates=10**6), task_of(side, classes, run.device), ipc, run.rng, lambda *_: tick())


STEPS = 20  # of training in a turn


def every(tick: Tick) -> Callable[..., None]:
    count = 0

    def step(*_: Any) -> None:
        nonlocal count
        count += 1
        if count % STEPS == 0:
            tick()

    return step


def small_set(ipc: int, device: torch.device) -> tuple[Task, torch.Tensor, torch.Tensor]:
    task = task_of(32, 10, device)
    rows = torch.cat([torch.arange(ipc) + c * EACH for c in range(10)])
    return task, task.images(rows), task.train.y[rows]


LONG = dataclasses.replace(PROTOCOLS["dm"], epochs=10**5)


def train(ipc: int, networks: int, run: Run, tick: Tick) -> None:
    """On a GPU all networks side by side; on a CPU each process has its own."""
    task, x, y = small_set(ipc, run.device)
    rngs = [run.rng.fold(i) for i in range(networks if run.device.type == "cuda" else 1)]
    fit_together(task.network, x, y, LONG, rngs, run, tick=every(tick))


def literal_train(ipc: int, networks: int, run: Run, tick: Tick) -> None:
    from literal import training

    training.train(*small_set(ipc, run.device), LONG, run.rng, tick=every(tick))


def features(count: int, pixels: bool, run: Run, tick: Tick) -> None:
    """Features of `count` images, with the gradient of the pixels or without any."""
    task = task_of(32, 10, run.device)
    w, x = task.network.init(run.rng), task.images(torch.arange(count) % len(task.train.y))
    engine = run.engine(task.network.features, 10**18)

    def slope(w: Weights, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(engine(w, x).square().sum(), x)[0]

    @torch.no_grad()
    def plain(w: Weights, x: torch.Tensor) -> torch.Tensor:
        return sliced(lambda part: engine(w, part), x, run.slice_size(count))

    replay = Replay(slope if pixels else plain)
    while True:
        for _ in range(IN_A_ROW[run.device.type]):
            for part in x.split(len(next(run.chunks(range(count), 1)))) if pixels else [x]:
                replay(w, part)
        tick(IN_A_ROW[run.device.type])


def literal_features(count: int, pixels: bool, run: Run, tick: Tick) -> None:
    """The module itself, 256 images at a time."""
    task = task_of(32, 10, run.device)
    with run.rng.scope():
        module = task.network.build().to(run.device)
    module.head = torch.nn.Identity()
    for parameter in module.parameters():
        parameter.requires_grad = False
    x = task.images(torch.arange(count) % len(task.train.y))
    while True:
        for _ in range(IN_A_ROW[run.device.type]):
            if pixels:
                x.grad = None
                module(x.requires_grad_()).square().sum().backward()
            else:
                with torch.no_grad():
                    torch.cat([module(part) for part in x.split(256)])
        tick(IN_A_ROW[run.device.type])


def augment(run: Run, tick: Tick, by_class: bool = False) -> None:
    """256 images of each of ten classes, a class at a time or all at once."""
    from literal.augmentation import augmented

    x, strategy, turn = torch.randn(10, 256, 3, 32, 32, device=run.device), Augment(DSA.strategy), 0
    run.engine(apply, 10**18)  # as in a long run, which compiles
    ours = run.fused(apply)
    while True:
        turn += 1
        draw = strategy.draw(10, (3, 32, 32), run.rng.fold(turn))
        if by_class:
            torch.stack([augmented(x[c], draw.rows([c])) for c in range(10)])
        else:
            ours(x, draw.to(x.device))
        tick()


POINTS, PICKS = (50_000, 2048), 10


def select(rule: str, run: Run, tick: Tick, literally: bool = False) -> None:
    """Ten of 50,000 points in 2048 dimensions."""
    from literal import selection

    f = torch.randn(*POINTS, generator=run.rng.generator()).to(run.device)
    ours = {"herding": herd, "k-center": farthest_first}[rule]
    literal = {"herding": selection.herd, "k-center": selection.farthest_first}[rule]
    while True:
        (literal if literally else ours)(f, PICKS)
        tick()


FUNCTIONS: dict[str, Callable[..., None]] = {
    "condense": condense,
    "literal_condense": literal_condense,
    "train": train,
    "literal_train": literal_train,
    "features": features,
    "literal_features": literal_features,
    "augment": augment,
    "literal_augment": partial(augment, by_class=True),
    "select": select,
    "literal_select": partial(select, literally=True),
}


def paths() -> list[Course]:
    found = [
        Course("features, no gradient", "features", "literal_features", 2560 * flop(32), {"count": 2560, "pixels": False}),
        Course("features, pixel gradient", "features", "literal_features", 2 * 100 * flop(32), {"count": 100, "pixels": True}),
        Course("augmentation", "augment", "literal_augment", 0, {}, bytes=2 * 4 * 10 * 256 * 3 * 32 * 32),
    ]
    # the mean, the differences from it, their norms, and one product for each pick (k-center's first is the nearest to the mean)
    for rule, products in (("herding", PICKS), ("k-center", PICKS - 1)):
        passes = (1 + 2 + 1 + products) * 4 * math.prod(POINTS)
        found.append(Course(rule, "select", "literal_select", 0, {"rule": rule}, bytes=passes))
    for ipc in (1, 10, 50):
        images = 10 * ipc * LONG.epochs / LONG.updates(10 * ipc)  # of a step: the last of an epoch may be small
        work = int(STEPS * TRAINING * images * flop(32))
        found.append(Course(f"train one network, IPC {ipc}", "train", "literal_train", work, {"ipc": ipc, "networks": 1}))
        found.append(Course(f"train ten networks, IPC {ipc}", "train", "literal_train", work, {"ipc": ipc, "networks": 10}))
    for method in ("dm", "m3d"):
        fields = find(method)()
        for classes in (10, 100):
            for side in (32, 28, 64):
                for ipc in (10, 1, 50):
                    images = classes * (fields.batch_real + 2 * ipc * fields.factor**2)
                    settings = {"side": side, "classes": classes, "method": method, "ipc": ipc}
                    name = f"{method}, {classes} classes, {side} px, IPC {ipc}"
                    found.append(Course(name, "condense", "literal_condense", images * flop(side), settings))
    return found


class Stop(Exception):
    pass


def work(line: Connection, function: str, settings: dict[str, Any], precision: Precision, device: str, threads: int) -> None:
    """Runs the path; after each turn says how long it took and the most memory so far, and waits."""
    torch.set_num_threads(threads)
    start = time.perf_counter()

    def tick(times: int = 1) -> None:
        nonlocal start
        if device == "cuda":
            torch.cuda.synchronize()
        line.send(((time.perf_counter() - start) / times, peak(torch.device(device))))
        if line.recv() == "stop":
            raise Stop
        start = time.perf_counter()

    line.recv()
    start = time.perf_counter()
    run = Run(Rng.of(0), device=torch.device(device), precision=precision, compile="off" if "literal" in function else "on")
    with full_precision(unless=precision == "tf32"):
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
            context.Process(target=work, args=(far, function, path.settings, precision, device, threads), daemon=True) for _, far in pairs
        ]
        self.lines, self.times, self.memory = [near for near, _ in pairs], [], 0
        for process in self.processes:
            process.start()

    def begin(self) -> None:
        for line in self.lines:
            line.send("go")

    def end(self) -> float:
        """Seconds of one turn for one network; several are at work at the same time."""
        told = [line.recv() for line in self.lines]
        self.memory = max(self.memory, sum(memory for _, memory in told))
        self.times.append(max(seconds for seconds, _ in told) / self.networks)
        return self.times[-1]

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
        with full_precision(unless=name == "tf32"):
            found[name] = rates(lambda a=a, b=b: a @ b, 2 * n**3, device)
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["bytes"] = rates(lambda: target.copy_(source), 2 * len(source), device)
    return found


def rates(function: Callable[[], Any], work: float, device: str, times: int = 5) -> list[float]:
    """Work a second, of each time after a first, in which compilers may be at work."""
    found = []
    for _ in range(1 + times):
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(work / (time.perf_counter() - start))
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
            side.begin()
            side.end()
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
            side.begin()
            side.end()
    return limits


def share(entry: dict[str, Any], records: list[dict[str, Any]]) -> float:
    """Of the ceiling: the best matrix product, or where there is none to do the best copy, that was seen beside any path."""
    moved = {path.name: path.bytes for path in paths()}[entry["path"]] / entry["seconds"]
    return (entry["flop per second"] or moved) / max(r["ceilings"][entry["precision"] if entry["flop"] else "bytes"] for r in records)


def recorded(out: Path) -> list[dict[str, Any]]:
    """All results of a file, in the order of `paths`."""
    names = [path.name for path in paths()]
    return sorted(read_json(out)["paths"], key=lambda record: names.index(record["path"]))


def table(out: Path = RESULTS / "cpu.json") -> str:
    """All results of a file as Markdown; a turn of training is `STEPS` steps, of all others one update or call."""
    records = recorded(out)
    lines = [
        "| path | precision | a turn | GFLOP/s | of the ceiling | × literal | memory, literal's |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in records:
        beside = f", {100 * r['share beside']:.0f} %" if "share beside" in r else ""
        work = f"{r['flop per second'] / 1e9:.0f}" if r["flop"] else "", f"{100 * share(r, records):.0f} %{beside}"
        memory = f"{r['memory'] / 2**30:.1f}, {r['literal memory'] / 2**30:.1f} GiB"
        cells = (r["path"], r["precision"], f"{r['seconds']:.3g} s", *work, f"{r['ratio']:.1f}", memory)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


COLOURS = {"fp32": "#3b6ea5", "tf32": "#6b9ac4", "bf16": "#d1762f"}


def picture(records: list[dict[str, Any]], out: Path) -> None:
    shown = [record for record in records if record["flop"]]
    names = list(dict.fromkeys(record["path"] for record in shown))
    precisions = sorted({record["precision"] for record in shown})
    figure, axes = pyplot().subplots(figsize=(8, 0.8 + 0.32 * len(names)), layout="constrained")
    for record in shown:
        height = 0.8 / len(precisions)
        y = names.index(record["path"]) + 0.4 - height * (precisions.index(record["precision"]) + 0.5)
        width = 100 * share(record, records)
        axes.barh(y, width, 0.95 * height, color=COLOURS[record["precision"]])
        axes.text(width + 1, y, f"{record['ratio']:.1f} ×", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 110)
    axes.set_xlabel("per cent of a large matrix product\nbeside: times as fast as the literal loop")
    axes.legend([pyplot().Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in precisions], precisions, loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=130)


AXES = {"classes": 0, "px": 1, "IPC": 2}  # where a path's name has them


def sizes(path: str) -> tuple[str, tuple[int, int, int]]:
    """`dm, 10 classes, 32 px, IPC 1` as the method, and classes, side and images a class."""
    method, *numbers = path.split(", ")
    classes, side, ipc = (int(word) for part in numbers for word in part.split() if word.isdigit())
    return method, (classes, side, ipc)


def series(records: list[dict[str, Any]], axis: str) -> dict[tuple[str, tuple[int, ...]], dict[int, dict[str, dict[str, Any]]]]:
    """Updates that differ in one size only: by method and the other sizes, then by that size, then by precision.

    Images of 28 pixels are grey and have no place in a series of sides.
    """
    found: dict[tuple[str, tuple[int, ...]], dict[int, dict[str, dict[str, Any]]]] = {}
    for record in records:
        if record["path"].startswith(("dm, ", "m3d, ")):
            method, own = sizes(record["path"])
            at = AXES[axis]
            if axis != "px" or own[at] != 28:
                line = found.setdefault((method, own[:at] + own[at + 1 :]), {})
                line.setdefault(own[at], {})[record["precision"]] = record
    return {key: dict(sorted(line.items())) for key, line in found.items() if len(line) > 1}


def growth(out: Path = RESULTS / "cpu.json") -> str:
    """How many times as much an update takes from the first to the last of each series, as Markdown."""
    records = recorded(out)
    against = sorted({record["precision"] for record in records})
    named = ", ".join(against)
    lines = [f"| update | from | to | work × | seconds ×, {named} | memory ×, {named} |", "|---" * 6 + "|"]
    for axis in AXES:
        for (method, _), line in series(records, axis).items():
            small, large = min(line), max(line)
            first, last = line[small], line[large]
            fixed = [part for part in first["fp32"]["path"].split(", ")[1:] if axis not in part]
            work = last["fp32"]["flop"] / first["fp32"]["flop"]
            ratios = [[last[p][what] / first[p][what] for p in against] for what in ("seconds", "memory")]
            told = [", ".join(f"{ratio:.1f}" for ratio in pair) for pair in ratios]
            lines.append(f"| {', '.join([method, *fixed])} | {small} {axis} | {large} {axis} | {work:.1f} | {' | '.join(told)} |")
    return "\n".join(lines)


def growth_picture(records: list[dict[str, Any]], out: Path) -> None:
    """Seconds and memory of an update over each size, beside lines along which seconds are as the work."""
    found = {axis: series(records, axis) for axis in AXES}
    if not all(found.values()):
        return
    figure, panels = pyplot().subplots(2, len(AXES), figsize=(10, 6), layout="constrained", sharey="row")
    for (axis, lines), (top, bottom) in zip(found.items(), panels.T, strict=True):
        for (method, _), line in lines.items():
            for precision in next(iter(line.values())):
                own = [by[precision] for by in line.values()]
                style = {"color": COLOURS[precision], "marker": "o" if method == "dm" else "s", "markersize": 4, "linewidth": 0.8}
                top.plot(list(line), [r["seconds"] for r in own], label=f"{method}, {precision}", **style)
                top.plot(list(line), [own[0]["seconds"] * r["flop"] / own[0]["flop"] for r in own], ":", color="grey", linewidth=0.8)
                bottom.plot(list(line), [r["memory"] / 2**30 for r in own], **style)
        top.set(xscale="log", yscale="log")
        bottom.set(xscale="log", xlabel={"classes": "classes", "px": "side, pixels", "IPC": "images a class"}[axis])
        for panel in (top, bottom):
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xticks(sorted({size for line in lines.values() for size in line}))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("")
    panels[0, 0].set_ylabel("seconds an update\n(dotted: as the work)")
    panels[1, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel("peak memory of the process, GiB")
    panels[0, 0].yaxis.set_major_formatter("{x:g}")
    handles = dict(zip(*reversed(panels[0, -1].get_legend_handles_labels()), strict=True))
    panels[0, 0].legend(handles.values(), handles.keys(), fontsize=7)
    figure.savefig(out, dpi=130)


def main(
    only: str = "*",
    device: str = "cpu",
    seconds: float = 20.0,
    name: str = "",
    table_only: Annotated[bool, arg(name="table")] = False,
    growth_only: Annotated[bool, arg(name="growth")] = False,
) -> None:
    """`only`: a pattern of path names; `seconds`: of turns for each path; `name`: of the files, by default the device's."""
    out = RESULTS / f"{name or device}.json"
    if table_only or growth_only:
        print(table(out) if table_only else growth(out))
        return
    keep_freed_memory()
    done = {entry["path"] for entry in (read_json(out)["paths"] if out.exists() else [])}
    for path in paths():
        if not fnmatch(path.name, only) or path.name in done:
            continue
        found = measure(path, device, seconds)
        for entry in found:
            text = f"{entry['seconds']:.3g} s, {entry['ratio']:.2f} times the literal loop, {entry['flop per second'] / 1e9:.0f} GFLOP/s"
            print(f"{path.name}, {entry['precision']}: {text}", file=sys.stderr, flush=True)
        with alone():
            record = read_json(out) if out.exists() else {"machine": machine(), "paths": []}
            write_json(out, record | {"paths": record["paths"] + found})
    picture(recorded(out), out.with_suffix(".png"))
    growth_picture(recorded(out), out.with_name(f"{out.stem}-growth.png"))


if __name__ == "__main__":
    tyro.cli(main)
