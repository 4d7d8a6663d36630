"""Measure what `results/quality` records: condense, train, test, write. What is there already is skipped.

    python benchmarks/quality.py --root DATA [--only PATTERN]

`benchmarks/tables.py` shows them as Markdown.
Each cell is one data set, method and budget; each becomes one JSON with machine, commit, seeds, seconds and every row.
Condensed sets are kept under runs/quality, where an interrupted cell goes on; `attar status runs/quality/cpu` shows
how far all are. A cell that fails is named at the end, after the others.
"""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line has it

import torch
import tyro

import attar
from attar import CondensedSet
from attar.cli.progress import Progress
from attar.data.known_sets import DATASETS
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.piece import Piece, Tick
from attar.engine.pieces import PiecesFailed, run_pieces
from attar.evaluation.rows import COLUMNS, Row, summarise
from attar.files import read_json, write_json
from attar.methods import find

HOME = Path(__file__).parents[1]
RESULTS, RUNS = HOME / "results" / "quality", HOME / "runs" / "quality"


@dataclass(frozen=True)
class Cell:
    data: str
    method: str
    ipc: int
    protocols: tuple[str, ...]
    published: str
    draws: int = 1
    seeds: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    """Of the method's name, where settings beside its recipe's make it another."""
    apart: str = ""
    """Of the file's name, where a protocol was measured apart from the others."""
    networks: tuple[str, ...] = ()
    """Those that judge, where it is not the usual one alone."""

    @property
    def name(self) -> str:
        return f"{self.data}-{self.method}{self.suffix}" + f"-ipc{self.ipc}" * (self.ipc > 0) + self.apart

    @property
    def soft(self) -> bool:
        return self.settings.get("soft", False)


TRAINED = {"epochs": 2}
SOFT = {"soft": True}  # its published values are those with soft labels; the hard ones are measured on the same images
DSA = {"augment": "color_crop_cutout_flip_scale_rotate"}
UNTILED = {"factor": 1, "init": "real"}
WHOLE = {  # CAFE as its paper stores images, with what was best for that
    "mnist": UNTILED | {"space": "normalised", "discrimination": 1.0, "optimiser": "sgd", "lr": 0.5, "updates": 250},
    "cifar10": UNTILED | {"optimiser": "sgd", "lr": 0.03, "updates": 300},
}
WHOLE_AT_TEN = WHOLE["mnist"] | {"updates": 500, "most": 100}
DSA_AT_TEN = DSA | UNTILED | {"updates": 500}  # else as in the recipe
FIVE = "convnet", "lenet", "alexnet", "vgg11", "resnet18"
CELLS = [
    Cell("mnist", "whole", 0, ("whole20",), "99.6 ± 0.0", seeds=1),
    Cell("mnist", "m3d", 1, ("idc", "dm"), "94.4 ± 0.2", draws=3, seeds=2),
    Cell("mnist", "dm", 1, ("dm",), "89.7 ± 0.6", seeds=4),
    Cell("mnist", "dance", 1, ("idc",), "", seeds=4),
    Cell("mnist", "ncfm", 1, ("idc",), "", seeds=4, settings=SOFT),
    Cell("mnist", "idm", 1, ("dm",), "", seeds=4),
    Cell("mnist", "cafe", 1, ("dc-mnist",), "93.1 ± 0.3", seeds=4),
    Cell("mnist", "cafe", 1, ("dm",), "90.8 ± 0.5", seeds=4, settings=DSA | {"updates": 300}, suffix="+dsa"),
    Cell("mnist", "cafe", 1, ("dc-mnist",), "93.1 ± 0.3", seeds=4, settings=WHOLE["mnist"], suffix="+whole"),
    Cell("mnist", "cafe", 1, ("dm",), "90.8 ± 0.5", seeds=4, settings=DSA | WHOLE["mnist"], suffix="+dsa+whole"),
    Cell("mnist", "dc", 1, ("dc-mnist",), "91.7", draws=3, seeds=2),
    Cell("mnist", "dsa", 1, ("dm",), "88.7", draws=3, seeds=2),
    Cell("mnist", "idc", 1, ("idc",), "94.2", draws=3, seeds=2),
    Cell("mnist", "mtt", 1, ("mtt",), "", draws=3, seeds=2),
    Cell("mnist", "gan-latents", 1, ("idc", "dm"), "", seeds=4),
    Cell("mnist", "dim", 1, ("dim",), ""),
    Cell("mnist", "dd", 1, ("dd",), "", draws=3, seeds=2),
    Cell("mnist", "rat-bptt", 1, ("bptt",), "", draws=3, seeds=2),
    Cell("mnist", "frepo", 1, ("frepo",), "93.0", draws=3, seeds=2),
    Cell("mnist", "performance", 1, ("bptt",), "", draws=3, seeds=2),
    Cell("mnist", "kip", 1, ("dm",), ""),
    Cell("mnist", "random", 1, ("dc-mnist", "dc"), "64.9 ± 3.5", draws=3, seeds=2),
    Cell("mnist", "herding", 1, ("dc-mnist", "dc"), "89.2 ± 1.6", settings=TRAINED),
    Cell("mnist", "random", 1, ("idc",), "", draws=3, seeds=2, apart="-idc"),
    Cell("mnist", "herding", 1, ("idc",), "", settings=TRAINED, apart="-idc"),
    Cell("mnist", "k-center", 1, ("dc-mnist", "dc"), "89.3 ± 1.5", settings=TRAINED),
    Cell("mnist", "k-means", 1, ("dc-mnist", "dc"), "", settings=TRAINED),
    Cell("mnist", "nearest-mean", 1, ("dc-mnist", "dc"), "", settings=TRAINED),
    Cell("mnist", "m3d", 10, ("idc", "dm"), "97.6 ± 0.1", seeds=4),
    Cell("mnist", "dm", 10, ("dm",), "97.5 ± 0.1", seeds=4),
    Cell("mnist", "dance", 10, ("idc",), "", seeds=4),
    Cell("mnist", "ncfm", 10, ("idc",), "", seeds=4, settings=SOFT),
    Cell("mnist", "idm", 10, ("dm",), "", seeds=4),
    Cell("mnist", "cafe", 10, ("dc-mnist",), "97.2 ± 0.2", seeds=4),
    Cell("mnist", "cafe", 10, ("dm",), "97.5 ± 0.1", seeds=4, settings=DSA, suffix="+dsa"),
    Cell("mnist", "cafe", 10, ("dm",), "97.5 ± 0.1", seeds=4, settings=DSA_AT_TEN, suffix="+dsa+whole"),
    Cell("mnist", "cafe", 10, ("dc-mnist",), "97.2 ± 0.2", seeds=4, settings=WHOLE_AT_TEN, suffix="+whole"),
    Cell("mnist", "dc", 10, ("dc-mnist",), "97.4"),
    Cell("mnist", "dsa", 10, ("dm",), "97.8"),
    Cell("mnist", "idc", 10, ("idc",), "98.4"),
    Cell("mnist", "gan-latents", 10, ("idc", "dm"), "", seeds=4),
    Cell("mnist", "dim", 10, ("dim",), ""),
    Cell("mnist", "rat-bptt", 10, ("bptt",), ""),
    Cell("mnist", "frepo", 10, ("frepo",), "98.6"),
    Cell("mnist", "kip", 10, ("dm",), ""),
    Cell("mnist", "random", 10, ("dc-mnist", "dc"), "95.1 ± 0.9", draws=3, seeds=1),
    Cell("mnist", "herding", 10, ("dc-mnist", "dc"), "93.7 ± 0.3", settings=TRAINED),
    Cell("mnist", "random", 10, ("idc",), "", draws=3, seeds=1, apart="-idc"),
    Cell("mnist", "herding", 10, ("idc",), "", settings=TRAINED, apart="-idc"),
    Cell("mnist", "k-center", 10, ("dc-mnist", "dc"), "84.4 ± 1.7", settings=TRAINED),
    Cell("mnist", "k-means", 10, ("dc-mnist", "dc"), "", settings=TRAINED),
    Cell("mnist", "nearest-mean", 10, ("dc-mnist", "dc"), "", settings=TRAINED),
    Cell("mnist", "dm", 27, ("dm",), ""),  # as many bytes as the generator of gan-latents, and its codes
    Cell("mnist", "dim", 50, ("dim",), "", seeds=2),
    Cell("digits", "gan-latents", 1, ("idc", "dm"), ""),
    Cell("digits", "dim", 1, ("dim",), ""),
    Cell("digits", "random", 1, ("idc", "dm"), "", draws=3, seeds=1),
    Cell("digits", "gan-latents", 10, ("idc", "dm"), ""),
    Cell("digits", "dim", 10, ("dim",), ""),
    Cell("digits", "random", 10, ("idc", "dm"), "", draws=3, seeds=1),
    Cell("fashion-mnist", "gan-latents", 1, ("idc", "dm"), ""),
    Cell("fashion-mnist", "dim", 1, ("dim",), ""),
    Cell("fashion-mnist", "random", 1, ("idc", "dm"), "", draws=3, seeds=1),
    Cell("fashion-mnist", "gan-latents", 10, ("idc", "dm"), ""),
    Cell("fashion-mnist", "dim", 10, ("dim",), ""),
    Cell("fashion-mnist", "random", 10, ("idc", "dm"), "", draws=3, seeds=1),
    Cell("cifar10", "whole", 0, ("whole20",), "84.8 ± 0.1", seeds=1),
    Cell("cifar10", "m3d", 1, ("idc", "dm"), "45.3 ± 0.3", draws=3, seeds=2),
    Cell("cifar10", "dm", 1, ("dm",), "26.0 ± 0.8", seeds=4),
    Cell("cifar10", "dance", 1, ("idc",), "47.1 ± 0.2", seeds=4),
    Cell("cifar10", "ncfm", 1, ("idc",), "49.5 ± 0.3", seeds=4, settings=SOFT),
    Cell("cifar10", "idm", 1, ("dm", "idc"), "45.6 ± 0.7", seeds=4),
    Cell("cifar10", "cafe", 1, ("cafe",), "30.3 ± 1.1", seeds=4),
    Cell("cifar10", "cafe", 1, ("dm",), "31.6 ± 0.8", seeds=4, settings=DSA, suffix="+dsa"),
    Cell("cifar10", "cafe", 1, ("cafe",), "30.3 ± 1.1", seeds=4, settings=WHOLE["cifar10"], suffix="+whole"),
    Cell("cifar10", "cafe", 1, ("dm",), "31.6 ± 0.8", seeds=4, settings=DSA | WHOLE["cifar10"], suffix="+dsa+whole"),
    Cell("cifar10", "dc", 1, ("dc",), "28.3", draws=3, seeds=2),
    Cell("cifar10", "dsa", 1, ("dm",), "28.8 ± 0.7", draws=3, seeds=2),
    Cell("cifar10", "idc", 1, ("idc",), "50.6", draws=3, seeds=2),
    Cell("cifar10", "mtt", 1, ("mtt",), "46.3 ± 0.8", seeds=4),
    Cell("cifar10", "ftd", 1, ("mtt",), "46.8 ± 0.3", seeds=4),
    Cell("cifar10", "datm", 1, ("datm",), "46.9", seeds=4),
    Cell("cifar10", "rat-bptt", 1, ("bptt",), "53.2 ± 0.7", draws=3, seeds=2),
    Cell("cifar10", "frepo", 1, ("frepo",), "46.8 ± 0.7", draws=3, seeds=2),
    Cell("cifar10", "random", 1, ("dm",), "", seeds=2, networks=FIVE, apart="-networks"),
    Cell("cifar10", "dsa", 1, ("dm",), "", seeds=2, networks=FIVE, apart="-networks"),
    Cell("cifar10", "random", 1, ("dc",), "14.4 ± 2.0", draws=3, seeds=2),
    Cell("cifar10", "herding", 1, ("dc",), "21.5 ± 1.2", seeds=4, settings=TRAINED),
    Cell("cifar10", "random", 1, ("idc",), "", draws=3, seeds=2, apart="-idc"),
    Cell("cifar10", "herding", 1, ("idc",), "", settings=TRAINED, apart="-idc"),
    Cell("cifar10", "k-center", 1, ("dc",), "21.5 ± 1.3", seeds=4, settings=TRAINED),
    Cell("cifar10", "k-means", 1, ("dc",), "", settings=TRAINED),
    Cell("cifar10", "nearest-mean", 1, ("dc",), "", settings=TRAINED),
    Cell("cifar10", "m3d", 10, ("idc", "dm"), "63.5 ± 0.2", seeds=4),
    Cell("cifar10", "dm", 10, ("dm",), "48.9 ± 0.6", seeds=4),
    Cell("cifar10", "dance", 10, ("idc",), "70.8 ± 0.2", draws=3, seeds=1),
    Cell("cifar10", "ncfm", 10, ("idc",), "", seeds=4),
    Cell("cifar10", "idm", 10, ("idc",), "", seeds=4),
    Cell("cifar10", "dc", 10, ("dc",), "44.9"),
    Cell("cifar10", "dsa", 10, ("dm",), "52.1 ± 0.5"),
    Cell("cifar10", "idc", 10, ("idc",), "67.5"),
    Cell("cifar10", "random", 10, ("dc",), "26.0 ± 1.2", draws=3, seeds=1),
    Cell("cifar10", "herding", 10, ("dc",), "31.6 ± 0.7", settings=TRAINED),
    Cell("cifar10", "random", 10, ("idc",), "", draws=3, seeds=1, apart="-idc"),
    Cell("cifar10", "herding", 10, ("idc",), "", settings=TRAINED, apart="-idc"),
    Cell("cifar10", "k-center", 10, ("dc",), "14.7 ± 0.9", settings=TRAINED),
    Cell("cifar10", "k-means", 10, ("dc",), "", settings=TRAINED),
    Cell("cifar10", "nearest-mean", 10, ("dc",), "", settings=TRAINED),
    Cell("imagenette64", "random", 1, ("idc",), "", draws=2, seeds=1),
    Cell("imagenette64", "m3d", 1, ("idc",), "", seeds=2, settings={"updates": 1000}),
    Cell("imagenette64", "dance", 1, ("idc",), "", seeds=2, settings={"updates": 300, "models": 2}),
]


def measure(cell: Cell, root: Path, results: Path, device: str = "cpu") -> None:
    task = load_cell(cell.data, root)
    asked = {"device": device, **cell.settings}
    learns = cell.method != "whole" and "updates" in fields(cell.method)
    planned = attar.plan(task, cell.method, cell.ipc, **asked).seconds if learns else None
    sets = [CondensedSet.whole(task)] if cell.method == "whole" else []
    for seed in range(cell.draws) if not sets else ():
        with Progress(find_folder(cell, seed, device).name) as progress:
            sets.append(condense(cell, task, seed, device, progress))
    rows: list[Row] = []
    for protocol in cell.protocols:
        with Progress(f"{cell.name}, {protocol}") as progress:
            for soft in (False, True) if cell.soft else (False,):
                how: dict[str, Any] = {"protocol": protocol, "seeds": cell.seeds, "soft": soft, "device": device}
                how |= {"networks": cell.networks} if cell.networks else {}
                rows += attar.evaluate(sets, task, progress=progress, **how)
        record = {
            "cell": cell.name,
            "published": cell.published,
            "planned seconds": planned,
            "measured": [dict(zip(COLUMNS, summary.cells(), strict=True)) for summary in summarise(rows)],
            "machine": machine(),
            "commit": commit(),
            "condensation": [made.provenance for made in sets],
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        # under another name until the last protocol is through: what is there whole is skipped
        write_json((results if protocol == cell.protocols[-1] else RUNS / device) / f"{cell.name}.json", record)
    for summary in summarise(rows):
        print("  ".join(summary.cells()), f"(published {cell.published})", flush=True)


def find_folder(cell: Cell, seed: int, device: str) -> Path:
    """Where the set of that seed is kept."""
    return RUNS / device / f"{cell.name.removesuffix(cell.apart)}-seed{seed}"


def condense(cell: Cell, task: Task, seed: int, device: str, progress: Progress) -> CondensedSet:
    """The set of that seed, which is made where it is not there, or finished."""
    folder = find_folder(cell, seed, device)
    where = {"out": folder, "resume": (folder / "run.json").exists(), "device": device}
    return attar.condense(task, cell.method, cell.ipc, seed=seed, progress=progress, **where, **cell.settings)


def load_cell(data: str, root: Path | None) -> Task:
    """A known set, or else a folder of Parquet files of photographs, which may be mirrored."""
    return load_data(data, root=root) if data in DATASETS else load_data(f"parquet:{root / data}", flip=True)


def fields(method: str) -> set[str]:
    return {field.name for field in dataclasses.fields(find(method))}


def machine() -> dict[str, Any]:
    models = [line.split(":")[1].strip() for line in cpuinfo() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def usual_name(device: str) -> str:
    """Of a file of results: the GPU's, or `cpu`."""
    return torch.cuda.get_device_name().lower().replace(" ", "-") if device == "cuda" else "cpu"


def kept(out: Path, device: str, fresh: dict[str, Any]) -> dict[str, Any]:
    """What `out` holds, or `fresh` and this machine; nothing is added to what another one measured."""
    here = machine()
    record = read_json(out) if out.exists() else {"machine": here} | fresh
    for key in ("gpu", "torch") if device == "cuda" else ("cpu", "vectors", "cores", "threads", "torch"):
        there = record["machine"].get(key)
        if there != here[key]:
            told = f"{out} was measured with {key} = {there}, here it is {here[key]}"
            raise SystemExit(f"{told}: name another file with --name")
    return record


def cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def commit() -> str:
    """The commit, marked where the code differs from it."""
    if shutil.which("git") is None:
        return "unknown"
    git = partial(subprocess.run, cwd=HOME, capture_output=True, text=True)
    changed = git(["git", "diff", "--quiet", "HEAD", "--", "src", "benchmarks"]).returncode
    return (git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip() or "unknown") + "-dirty" * bool(changed)


def make_piece(cell: Cell, root: Path) -> Piece:
    """The cell as a piece of work. It has no known cost, and so is done here: what it trains may start processes."""
    work, found = partial(measure_piece, cell, root), partial(find_result, cell)
    return Piece(repr(cell), cell.name, 0, RUNS / "cpu", work, found, cost=0)


def measure_piece(cell: Cell, root: Path, tick: Tick) -> Path | None:
    print(cell.name, file=sys.stderr, flush=True)
    measure(cell, root, RESULTS)
    tick()
    return find_result(cell)


def find_result(cell: Cell) -> Path | None:
    path = RESULTS / f"{cell.name}.json"
    return path if path.exists() else None


def main(root: Path, only: str = "*") -> None:
    """`root`: the folder of the data sets; `only`: a pattern of cell names, such as `mnist-*`."""
    try:
        run_pieces([make_piece(cell, root) for cell in CELLS if fnmatch(cell.name, only)], called="cells")
    except PiecesFailed as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    tyro.cli(main)
