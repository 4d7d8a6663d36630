"""A path in the tree of any commit, slice by slice: `before_after.py` starts it once for each of two trees.

    PYTHONPATH=TREE/src python benchmarks/side.py PATH

It imports nothing of its own tree, and of the other one public names only. It prints the seconds of the first update,
then those of each slice. A number on its standard input asks for a slice of so many updates; its end ends the path.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import attar

SEED, CLASSES, EACH, IPC = 0, 10, 500, 10  # EACH: real images a class
Tick = Callable[[], None]


def arrays() -> tuple[np.ndarray, ...]:
    """Random images of CIFAR's size with labels, to train and to test on."""
    rng, found = np.random.default_rng(SEED), []
    for each in (EACH, 2):
        x = rng.integers(0, 256, (each * CLASSES, 32, 32, 3), np.uint8)
        found += [x, np.arange(CLASSES).repeat(each)]
    return tuple(found)


def condense(method: str, tick: Tick, **settings: Any) -> None:
    def progress(done: int, total: int, loss: float) -> None:
        if not math.isnan(loss):  # else a network is trained first
            tick()

    settings |= {"recipe": "cifar10", "updates": 10**6}
    attar.condense(arrays(), method, IPC, seed=SEED, compile="on", progress=progress, **settings)


def train(tick: Tick) -> None:
    """One network after another: of several at once, other processes would take care."""
    made = attar.condense(arrays(), "random", IPC, seed=SEED)
    while True:
        attar.evaluate(made, arrays(), protocol="dm", seeds=1, compile="on", progress=lambda *_: tick())


# CAFE's accuracy decides how long its network is trained between two updates. Here it is always the recipe's least.
PATHS: dict[str, Callable[[Tick], None]] = {
    "dm": partial(condense, "dm"),
    "m3d": partial(condense, "m3d"),
    "idm": partial(condense, "idm"),
    "cafe": partial(condense, "cafe", window=3, most=3, inner=0.0, outer=0.0),
    "ncfm": partial(condense, "ncfm", models=1, epochs=1),
    "training": train,
}


class Clock:
    """Called after each update. At the end of a slice it says the seconds, and waits to be asked for the next."""

    def __init__(self) -> None:
        self.left, self.start = 1, time.perf_counter()

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            print(time.perf_counter() - self.start, flush=True)
            asked = sys.stdin.readline()
            if not asked:
                sys.exit()
            self.left, self.start = int(asked), time.perf_counter()


def main(path: str) -> None:
    assert Path(attar.__file__).is_relative_to(os.environ["PYTHONPATH"]), "an installed attar is in the way"
    PATHS[path](Clock())


if __name__ == "__main__":
    main(sys.argv[1])
