"""What data on disk costs: sets of growing size loaded and sampled, mapped by `npy:FOLDER` beside arrays in memory.

    python benchmarks/streaming.py [--counts 50000 500000] [--side 32] [--folder DIR]

Each set is made in a temporary folder (of DIR), and each measurement is a process of its own. A sample is cold where
none of the files is in the memory, and so are the first updates of M3D. What is loaded was just written and may be
there: the first load's time is that of measuring the set, not of the disk. Writes `results/speed/streaming.json` with
machine and commit.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import tyro
from quality import HOME, commit, machine
from torch import Tensor

from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.run import Run
from attar.files import write_json
from attar.methods.distribution.m3d import M3D
from attar.rng import Rng

CLASSES, TEST, DRAWN, REPEATS, UPDATES = 10, 1000, 64, 5, 12


def make(folder: Path, count: int, side: int) -> None:
    """Random bytes of 3 channels; what is written is on the disk, or it could not be dropped from the memory."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", count), ("test", TEST)):
        np.save(folder / f"y_{part}.npy", np.arange(n) % CLASSES)
        x = np.lib.format.open_memmap(folder / f"x_{part}.npy", "w+", np.uint8, (n, 3, side, side))
        for start in range(0, n, 1000):
            x[start : start + 1000] = rng.integers(0, 256, x[start : start + 1000].shape, np.uint8)
    os.sync()


def measure(folder: Path, kind: str) -> dict[str, Any]:
    """Seconds and MiB of this process, which loads the set of a folder, `mapped` or into `memory`, and samples it."""
    before = memory()
    load = {"mapped": lambda: load_data(f"npy:{folder}"), "memory": lambda: load_data(arrays(folder))}[kind]
    task, seconds = timed(load)
    loaded = memory()
    record = {"load": seconds, "table": timed(lambda: task.table)[1]}
    asked = [Rng.of(seed) for seed in range(REPEATS)]
    record["draw"] = median(timed(partial(task.indices, range(CLASSES), DRAWN, rng))[1] for rng in asked)
    if kind == "mapped":
        del task  # what a process has mapped and read is not dropped
        record["cold"] = median(cold(folder, rng, Task.sample) for rng in asked)
        record["cold, page after page"] = median(cold(folder, rng, unfetched) for rng in asked)
        task = load()
    warm = [[timed(partial(task.sample, range(CLASSES), DRAWN, rng))[1] for _ in range(2)][1] for rng in asked]
    record |= {"warm": median(warm), "MiB": {"start": before, "loaded": loaded, "sampled": memory()}}
    if kind == "mapped":
        del task
        drop(folder)
        task = load()
    return record | {"update": update(task)}


def update(task: Task) -> float:
    """Of M3D at one image a class, with real images drawn afresh each time."""
    ends: list[float] = []
    run = Run(Rng.of(0), progress=lambda *_: ends.append(time.perf_counter()))
    M3D(updates=UPDATES, batch_real=DRAWN)(task, 1, run)
    return median(end - start for start, end in pairwise(ends))


def cold(folder: Path, rng: Rng, sample: Callable[[Task, Sequence[int], int, Rng], Tensor]) -> float:
    drop(folder)
    task = load_data(f"npy:{folder}")
    task.indices(range(CLASSES), 1, rng)  # the table of indices is made once, before the clock starts
    return timed(lambda: sample(task, range(CLASSES), DRAWN, rng))[1]


def unfetched(task: Task, classes: Sequence[int], n: int, rng: Rng) -> Tensor:
    """`Task.sample` without asking for all rows beforehand."""
    return task.normalise(task.train.x[task.indices(classes, n, rng)])


def arrays(folder: Path) -> tuple[np.ndarray, ...]:
    return tuple(np.load(folder / f"{name}.npy") for name in ("x_train", "y_train", "x_test", "y_test"))


def drop(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def memory() -> dict[str, int]:
    """Highest resident memory, files mapped included, and what of it now is the process's own."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(status[name].split()[0]) // 1024 for name in ("VmHWM", "RssAnon")}


def child(folder: Path, kind: str, cache: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measured", str(folder), "--kind", kind]
    environment = os.environ | {"ATTAR_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    print(kind, done.stdout.strip(), flush=True)
    return json.loads(done.stdout)


def main(
    counts: tuple[int, ...] = (50_000, 500_000),
    side: int = 32,
    folder: Path | None = None,
    measured: Path | None = None,
    kind: str = "",
) -> None:
    """`measured` and `kind` are how this program calls itself."""
    torch.set_num_threads(1)
    if measured:
        print(json.dumps(measure(measured, kind)))
        return
    cells = []
    for count in counts:
        with TemporaryDirectory(dir=folder) as scratch:
            data, cache = Path(scratch) / "set", Path(scratch) / "cache"
            make(data, count, side)
            runs = {name: child(data, name.split()[0], cache) for name in ("mapped first", "mapped again", "memory")}
            cells.append({"images": count, "shape": [3, side, side], "runs": runs})
    about = {
        "sample": f"{DRAWN} images of each of {CLASSES} classes",
        "seconds": f"medians of {REPEATS} samples",
        "threads": 1,
    }
    record = {"about": about, "cells": cells, "machine": machine(), "commit": commit()}
    write_json(HOME / "results" / "speed" / "streaming.json", record)


if __name__ == "__main__":
    tyro.cli(main)
