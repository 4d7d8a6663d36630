"""Whether anything got slower since a commit: six paths in this tree and in that commit's, in turns, on a CPU.

    python benchmarks/before_after.py COMMIT [--name NAME] [--only PATTERN] [--seconds 2] [--turns 10]
    python benchmarks/before_after.py --name NAME --table       # what is there, as Markdown

Five methods condense random images of CIFAR's size, ten classes, ten images a class; and a network is trained on ten
images a class. For each path either tree has a process of its own, which compiles and warms up, and then makes the same
number of updates at each of its turns, about `seconds` long. The two are never at work at the same time, and take turns
in beginning, so that noise of the machine meets both. In all it takes about ten minutes on two quiet cores.

Prints for each path the seconds of an update before and after, and of the turns' ratios (before / after) the median,
the least and the greatest: a median of at least 0.95 means that nothing got slower. Writes
results/speed/NAME.json, by default before-after-cpu.json.
Only public names of attar are used (benchmarks/side.py), so that the two trees may differ in everything behind them.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import tyro
from quality import HOME, commit, machine, usual_name
from side import PATHS, SEED
from turns import alone
from tyro.conf import Positional, arg

from attar.engine.precision import default_precision
from attar.files import read_json, write_json
from attar.rng import CPU

RESULTS = HOME / "results" / "speed"
SLOWER = 0.95
WARM = {path: 2 if path == "cafe" else 6 for path in PATHS}  # updates of warming up: the second episode has begun


class Side:
    """A path in one tree."""

    def __init__(self, path: str, tree: Path, cache: Path):
        # as the command line has it: who is not at turn must not spin for long
        environment = {"PYTHONPATH": str(tree / "src"), "ATTAR_CACHE": str(cache), "GOMP_SPINCOUNT": "20000"}
        self.about, self.times = f"{path} in {tree}", []
        self.process = subprocess.Popen(
            [sys.executable, str(HOME / "benchmarks" / "side.py"), path],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.read()  # the first update

    def seconds(self, updates: int) -> float:
        """Those of so many more updates."""
        print(updates, file=self.process.stdin, flush=True)
        return self.read()

    def read(self) -> float:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.about} broke off: what it said is above")
        return float(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """A worktree of that commit, removed afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            yield tree.resolve()
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=HOME, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def measure(path: str, trees: dict[str, Path], seconds: float, turns: int) -> dict[str, Any]:
    """Updates in a turn, and the seconds of each turn in each tree."""
    warm = WARM[path]
    with alone(), contextlib.ExitStack() as stack:
        sides: dict[str, Side] = {}
        for name, tree in trees.items():
            cache = stack.enter_context(tempfile.TemporaryDirectory())
            sides[name] = Side(path, tree, Path(cache))
            stack.callback(sides[name].close)
            sides[name].seconds(warm)
        slowest = max(side.seconds(warm) for side in sides.values())
        updates = max(1, round(warm * seconds / slowest))
        for turn in range(turns):
            for side in list(sides.values())[:: -1 if turn % 2 else 1]:
                side.times.append(side.seconds(updates))
        return {"path": path, "updates": updates, **{name: side.times for name, side in sides.items()}}


def cells(found: dict[str, Any]) -> tuple[str, ...]:
    """The path, the seconds of an update in each tree, and the turns' ratios."""
    before, after = (statistics.median(found[name]) / found["updates"] for name in ("before", "after"))
    ratios = [old / new for old, new in zip(found["before"], found["after"], strict=True)]
    middle, least, most = (f(ratios) for f in (statistics.median, min, max))
    told = f"{middle:.3f} ({least:.3f}–{most:.3f})" + ", slower" * (middle < SLOWER)
    return found["path"], f"{before:.3f} s", f"{after:.3f} s", told


def table(out: Path) -> str:
    """A file as Markdown."""
    record = read_json(out)
    head = [f"| path | {record['commits']['before'][:7]} | {record['commits']['after'][:7]} | before / after |"]
    return "\n".join(head + ["|---|---|---|---|"] + [f"| {' | '.join(cells(found))} |" for found in record["paths"]])


def main(
    revision: Positional[str] = "",
    name: str = "",
    only: str = "*",
    seconds: float = 2.0,
    turns: int = 10,
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    """`name`: of the file; `only`: a pattern of path names; `seconds`: of each turn."""
    out = RESULTS / f"{name or 'before-after-' + usual_name('cpu')}.json"
    if table_only:
        print(table(out))
        return
    if not revision:
        raise SystemExit("name the commit to compare with")
    if out.exists():
        raise SystemExit(f"{out} is there already: name another file with --name")
    commits, paths = {"before": git("rev-parse", "--short=12", revision), "after": commit()}, []
    print(f"{'path':10}  {'before':>11}  {'after':>11}  before / after, median (least–greatest)")
    with tree_of(revision) as tree:
        for path in (path for path in PATHS if fnmatch(path, only)):
            paths.append(measure(path, {"before": tree, "after": HOME}, seconds, turns))
            print("{:10}  {:>11}  {:>11}  {}".format(*cells(paths[-1])), flush=True)
    about = {"commits": commits, "seed": SEED, "precision": default_precision(CPU), "machine": machine()}
    write_json(out, about | {"paths": paths})


if __name__ == "__main__":
    tyro.cli(main)
