"""Which condensation loss tells what a set is worth: rank correlations with the test loss, over sixty sets.

    python benchmarks/consistency.py --root DATA [--data mnist] [--ipc 10]

The sets are random subsets, and snapshots of four methods after 5 to 640 updates, all without tiles. One network a set
judges, trained by `quick`. Sets are kept under runs/consistency, where an interrupted measurement goes on; the table is
printed, and kept as audit.json there.
"""

from pathlib import Path

import tyro
from quality import HOME

import attar
from attar.cli.progress import Progress
from attar.cli.table import print_measures
from attar.data.load import load_data
from attar.data.task import Task
from attar.methods import find

METHODS = ("dm", "m3d", "dance", "idm")
UPDATES = (5, 10, 20, 40, 80, 160, 320, 640)
RANDOM = 28  # with the snapshots sixty


def make(task: Task, method: str, ipc: int, folder: Path, seed: int = 0, **settings: int) -> Path:
    """The folder of a set, which is made where it is not there."""
    begun = (folder / "run.json").exists()
    attar.condense(task, method, ipc, out=folder, seed=seed, resume=begun, **settings)
    return folder


def main(root: Path | None = None, data: str = "mnist", ipc: int = 10, device: str = "cpu") -> None:
    task, home = load_data(data, root=root), HOME / "runs" / "consistency" / f"{data}-ipc{ipc}"
    sets = [make(task, "random", ipc, home / f"random-seed{seed}", seed) for seed in range(RANDOM)]
    for method in METHODS:
        tiles = {"factor": 1} if hasattr(find(method), "factor") else {}
        sets += [make(task, method, ipc, home / f"{method}-{count}", updates=count, **tiles) for count in UPDATES]
    with Progress("consistency") as progress:
        rows = attar.audit(
            sets, task, consistency=True, protocol="quick", seeds=1, out=home, device=device, progress=progress
        )
    print_measures(rows)


if __name__ == "__main__":
    tyro.cli(main)
