"""Everything that is measured on a GPU, in pieces that each take a few minutes; what results/gpu holds is skipped.

    python benchmarks/gpu.py --root DATA [--minutes 8]

No piece begins after `minutes`: call again until it says that nothing is left. In order: the tests marked `gpu`, the loops beside
their literal versions, then published settings at full length (MNIST and CIFAR-10, IPC 1, 10, 50, DM and M3D), ten networks each.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import tyro
from quality import HOME, Cell, measure

from attar.files import write_json

RESULTS = HOME / "results" / "gpu"
COURSES = (
    "features*",
    "train*",
    "dm, 10 classes, 32 px*",
    "m3d, 10 classes, 32 px*",
    "*100 classes, 32 px*",
    "augmentation",
    "*ing",
    "k-*",
)
# data, method: protocol and published accuracies at 1, 10 and 50 images a class
CELLS = {
    ("mnist", "dm"): ("dm", ("89.7 ± 0.6", "97.5 ± 0.1", "98.6 ± 0.1")),
    ("mnist", "m3d"): ("idc", ("94.4 ± 0.2", "97.6 ± 0.1", "98.2 ± 0.2")),
    ("cifar10", "dm"): ("dm", ("26.0 ± 0.8", "48.9 ± 0.6", "63.0 ± 0.4")),
    ("cifar10", "m3d"): ("idc", ("45.3 ± 0.3", "63.5 ± 0.2", "69.9 ± 0.5")),
}


def pieces(root: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Each with the file that says it is done."""
    tests = RESULTS / "tests.json"
    yield tests, partial(run_tests, tests)
    for i, pattern in enumerate(COURSES):
        done = RESULTS / f"speed-{i}.json"
        yield done, partial(run_speed, pattern, done)
    for (data, method), (protocol, published) in CELLS.items():
        for ipc, value in zip((1, 10, 50), published, strict=True):
            cell = Cell(data, method, ipc, (protocol,), value, seeds=10, settings={"published": True})
            yield RESULTS / f"{cell.name}.json", partial(measure, cell, root, RESULTS, "cuda")


def run_tests(done: Path) -> None:
    subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], cwd=HOME, check=True)
    write_json(done, {"passed": True})


def run_speed(pattern: str, done: Path) -> None:
    speed = HOME / "benchmarks" / "speed.py"
    subprocess.run([sys.executable, speed, "--device", "cuda", "--only", pattern, "--seconds", "5"], check=True, env=os.environ)
    write_json(done, {"paths": pattern})


def main(root: Path, minutes: float = 8.0) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for done, piece in pieces(root):
        if done.exists():
            continue
        if time.monotonic() - begun > 60 * minutes:
            print(f"next: {done.stem}; call again", flush=True)
            return
        print(done.stem, flush=True)
        piece()
    print("nothing is left")


if __name__ == "__main__":
    tyro.cli(main)
