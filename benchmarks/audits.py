"""Measure what `results/audits` records: make sets, audit them, write. What is there already is skipped.

    python benchmarks/audits.py --root DATA [--only PATTERN] [--plan]

Each cell answers one question, and becomes one JSON with machine, commit, seeds, seconds and every row. Sets are those
of `benchmarks/quality.py`, where it makes them too. Pieces of the audits are kept under runs/audits, where an
interrupted cell goes on. `--plan` says what is left, with seconds where they are known or can be estimated.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import quality
import tyro
from quality import HOME, Cell, commit, condense, find_folder, load_cell, machine

import attar
from attar import CondensedSet
from attar.cli.progress import Progress
from attar.condensed.store import MANIFEST
from attar.data.known_sets import DATASETS
from attar.data.task import Task
from attar.engine.device import eager_flops
from attar.engine.staging import staging_folder
from attar.evaluation.audits.consistency import Consistency
from attar.evaluation.audits.distribution import Distribution
from attar.evaluation.audits.fairness import Fair
from attar.evaluation.audits.frame import Audit, Bench
from attar.evaluation.audits.privacy import Private
from attar.evaluation.audits.robustness import Robust
from attar.files import read_json, write_json
from attar.methods import find
from attar.runs.audit import list_subjects, list_work
from attar.runs.recipe import resolve
from attar.training.protocol import PROTOCOLS
from attar.wording import duration

RESULTS, RUNS = HOME / "results" / "audits", HOME / "runs" / "audits"
UPDATES = (5, 10, 20, 40, 80, 160, 320, 640)  # of the sets that a method makes, each in a run of its own
RANDOM = 28  # sets, with those of four methods sixty


class Draw(NamedTuple):
    """A set, and the seed that makes it."""

    cell: Cell
    seed: int = 0


@dataclass(frozen=True)
class Question:
    name: str
    sets: tuple[Draw, ...]
    """All of the same data and budget. Random images and the whole set stand beside them by themselves."""
    audit: Audit
    protocol: str = "dm"
    seeds: int = 3


def draw(data: str, method: str, ipc: int, suffix: str = "", **settings: Any) -> Draw:
    return Draw(Cell(data, method, ipc, (), "", settings=settings, suffix=suffix))


def list_lengths(data: str, ipc: int, method: str) -> list[Draw]:
    """Sets made in few and in many updates, without tiles."""
    tiles = {"factor": 1} if hasattr(find(method), "factor") else {}
    return [draw(data, method, ipc, f"+{count}", updates=count, **tiles) for count in UPDATES]


def list_sixty(data: str, ipc: int) -> tuple[Draw, ...]:
    """Random subsets, and sets that four methods made in few and in many updates."""
    random = [Draw(Cell(data, "random", ipc, (), ""), seed) for seed in range(RANDOM)]
    learned = [list_lengths(data, ipc, method) for method in ("dm", "m3d", "dance", "idm")]
    return (*random, *itertools.chain(*learned))


def list_known(data: str, ipc: int) -> tuple[Draw, ...]:
    """A set of every method that `quality` measures, as it makes them."""
    return tuple(Draw(c) for c in quality.CELLS if (c.data, c.ipc) == (data, ipc) and not c.suffix and not c.apart)


LEARNED = "dm", "m3d", "dance"
MNIST, CIFAR = (tuple(draw(data, method, 1) for method in LEARNED) for data in ("mnist", "cifar10"))
COLOURS = tuple(draw("colored-mnist-fg", method, 10) for method in ("dm", "m3d"))
STARTS = tuple(draw("mnist", "m3d", 5, f"+{init}", updates=200, init=init) for init in ("real", "noise"))
RADII = (1 / 255, 2 / 255)
ALONE: dict[str, Any] = {"eps": RADII, "strong_images": 0, "corruptions": False, "whole": False}
QUESTIONS = [
    Question("robust-mnist-ipc1", MNIST, Robust(eps=0.1, strongest_images=0)),
    Question("robust-cifar10-ipc1", CIFAR, Robust(eps=RADII, strongest_images=0)),
    Question("robust-cifar10-ipc1-strongest", CIFAR[:1], Robust(**ALONE), seeds=2),
    Question("robust-cifar10-ipc1-adversarial", CIFAR, Robust(adversarial=True, strongest_images=0, **ALONE)),
    Question("fair-colored-mnist-ipc10", COLOURS, Fair()),
    Question("private-mnist-ipc5", STARTS, Private(images=6000), seeds=1),
    Question("distribution-mnist-ipc10", list_known("mnist", 10), Distribution(), seeds=1),
    Question("consistency-mnist-ipc10", list_sixty("mnist", 10), Consistency(), "quick", seeds=1),
]


def measure(question: Question, root: Path | None, device: str) -> None:
    task, sets = load(question, root), []
    for one in question.sets:
        with Progress(one.cell.name) as progress:
            sets.append(condense(one.cell, task, one.seed, device, progress))
    start = time.perf_counter()
    how: dict[str, Any] = {question.audit.name: question.audit, "protocol": question.protocol, "seeds": question.seeds}
    with Progress(question.name) as progress:
        rows = attar.audit(sets, task, out=home(question, device), device=device, progress=progress, **how)
    record = {
        "question": question.name,
        "protocol": question.protocol,
        "seeds": list(range(question.seeds)),
        "settings": dataclasses.asdict(question.audit),
        "seconds": round(time.perf_counter() - start, 1),  # of this call: pieces that were kept took none
        "machine": machine(),
        "commit": commit(),
        "condensation": [made.provenance for made in sets],
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    write_json(RESULTS / f"{question.name}.json", record)
    print(f"{question.name}: {len(rows)} rows in {duration(record['seconds'])}", flush=True)


def load(question: Question, root: Path | None) -> Task:
    return load_cell(question.sets[0].cell.data, root)


def home(question: Question, device: str) -> Path:
    """Questions about the same data share the whole set's network."""
    return RUNS / device / question.sets[0].cell.data


def tell_plan(question: Question, root: Path | None, device: str) -> str:
    """What is left to do, in a line."""
    task, missing, seconds, sets = load(question, root), 0, 0.0, list[CondensedSet]()
    for one in question.sets:
        folder = find_folder(one.cell, one.seed, device)
        if (folder / MANIFEST).exists():
            sets.append(attar.load(folder))
            continue
        own = estimate(one.cell, task)
        missing, seconds = missing + 1, seconds + own
        sets.append(stand_in(one, task, own))
    left = [piece for piece in list_pieces(question, sets, task, device) if piece.find() is None]
    cost = sum(piece.cost for piece in left)
    audited = (
        f"{len(left)} pieces, {cost / 1e12:.3g} TFLOP, about {duration(cost / eager_flops(task.device))} uncompiled"
    )
    return f"{question.name}: {missing} of {len(sets)} sets to make, about {duration(seconds)}; then {audited}"


def list_pieces(question: Question, sets: Sequence[CondensedSet], task: Task, device: str) -> list[Any]:
    """All work of the audit."""
    with staging_folder() as passing:
        protocol, seeds, where = PROTOCOLS[question.protocol], tuple(range(question.seeds)), home(question, device)
        bench = Bench(task, protocol, seeds, passing, lambda made, task, seed: made)
        work = list_work([question.audit], list_subjects(sets, [where] * len(sets), where, bench), bench)
        return [*work.networks, *work.pieces]


def stand_in(one: Draw, task: Task, seconds: float) -> CondensedSet:
    """Random images, as many as networks will see of the set: what is left depends on no more."""
    made = attar.condense(task, "random", one.cell.ipc * settle(one.cell).get("factor", 1) ** 2, seed=one.seed)
    made.provenance.update(method=one.cell.method, ipc=one.cell.ipc, seconds=seconds)
    return made


def settle(cell: Cell) -> dict[str, Any]:
    """The settings that the set will be made with."""
    return resolve(cell.method, DATASETS[cell.data].made_of or cell.data, cell.ipc, cell.settings).hyperparameters


def estimate(cell: Cell, task: Task) -> float:
    """Seconds of making it: those that were measured, or else those of a plan."""
    path = quality.RESULTS / f"{cell.name}.json"
    if path.exists():
        return float(read_json(path)["condensation"][0]["seconds"])
    usual = dataclasses.replace(cell, settings={k: v for k, v in cell.settings.items() if k != "updates"})
    updates = settle(usual).get("updates")
    if not updates:
        return 0.0
    seconds = estimate_usual(task, cell.method, cell.ipc, tuple(sorted(usual.settings.items())))
    return seconds * cell.settings.get("updates", updates) / updates


@functools.cache
def estimate_usual(task: Task, method: str, ipc: int, settings: tuple[tuple[str, Any], ...]) -> float:
    """With as many updates as its recipe has, so that a method is planned once."""
    return attar.plan(task, method, ipc, **dict(settings)).seconds or 0.0


def main(root: Path | None = None, only: str = "*", device: str = "cpu", plan: bool = False) -> None:
    """`root`: the folder of the data sets; `only`: a pattern of names, such as `robust*`."""
    left = [one for one in QUESTIONS if fnmatch(one.name, only) and not (RESULTS / f"{one.name}.json").exists()]
    for question in left:
        if plan:
            print(tell_plan(question, root, device), flush=True)
        else:
            measure(question, root, device)


if __name__ == "__main__":
    tyro.cli(main)
