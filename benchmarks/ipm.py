"""What each discrepancy makes a small set keep, and what it misses, in equal time.

    python benchmarks/ipm.py mnist --root DATA [--seconds 20] [--only gaussian]
    python benchmarks/ipm.py --table                  # what is there, as Markdown

Every discrepancy is matched on unlearned networks' features and on pixels, with everything else alike: real images to
start from, Adam (whose steps do not depend on how large a discrepancy is), as many updates as fit into `seconds` at a
pace measured first. Then the images of each class are held against as many real test images, in the pixels and in the
features of a network trained on the whole set: how far the means are apart, what became of the covariance, and whether
a nearest neighbour tells the two samples apart.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from quality import HOME, commit, machine
from search import mean, pace
from tyro.conf import Positional, arg

import attar
from attar.cli.progress import Progress
from attar.condensed.condensed_set import CondensedSet
from attar.data.load import load_data
from attar.data.task import Task
from attar.distances.by_name import DISCREPANCIES
from attar.distances.mmd import negative_distance, radial_mmd, squared_distances
from attar.engine.run import Run
from attar.files import read_json, write_json
from attar.rng import Rng
from attar.training.pretrained import train_whole
from attar.training.protocol import PROTOCOLS

RESULTS = HOME / "results" / "ipm"
METHOD = "discrepancy"
LIKE: dict[str, Any] = {  # whatever the recipe for the data says
    "factor": 1,
    "init": "real",
    "space": "unit",
    "augment": "color_crop_cutout",
    "style": "idc",
    "ipm": 1,
    "batch_real": 64,
    "keep_real": False,
}
JUDGE = dataclasses.replace(PROTOCOLS["dm"], name="dm, 301 epochs", epochs=301)
ADAM = {"optimiser": "adam", "lr": 0.02, "schedule": "cosine"}
PERMUTATIONS = 200
COLUMNS = ("mean", "variance", "rank", "neighbour", "p")


def compared(s: torch.Tensor, r: torch.Tensor, rng: Rng) -> dict[str, float]:
    """Two samples of one class, in one space.

    `mean`: the squared distance of the means over the real variance. `variance`: the synthetic over the real one.
    `rank`: the same of the effective ranks of the covariances (the exponential of the spectrum's entropy). `neighbour`:
    per cent of points whose nearest neighbour is of their own sample, 50 where they mix. `p`: of the permutation test
    of the energy distance.
    """
    n = min(len(s), len(r))
    s, r = s[:n].double(), r[:n].double()
    both = torch.cat([s, r])
    d2 = squared_distances(both[None], both[None])[0].fill_diagonal_(math.inf)
    of_s = torch.arange(2 * n) < n
    neighbour = (of_s[d2.argmin(1)] == of_s).double().mean()
    found = energy(s, r)
    shuffled = [both[torch.randperm(2 * n, generator=rng.fold(i).generator())] for i in range(PERMUTATIONS)]
    above = sum(energy(z[:n], z[n:]) >= found for z in shuffled)
    variance = [x.var(0).sum() for x in (s, r)]
    return {
        "mean": float((s.mean(0) - r.mean(0)).square().sum() / variance[1]),
        "variance": float(variance[0] / variance[1]),
        "rank": effective_rank(s) / effective_rank(r),
        "neighbour": 100 * float(neighbour),
        "p": (above + 1) / (PERMUTATIONS + 1),
    }


def energy(s: torch.Tensor, r: torch.Tensor) -> float:
    return float(radial_mmd(negative_distance, s[None], r[None]))


def effective_rank(x: torch.Tensor) -> float:
    spectrum = torch.linalg.svdvals(x - x.mean(0)).square()
    share = spectrum / spectrum.sum()
    return float(torch.special.entr(share).sum().exp())


def judged(made: CondensedSet, task: Task) -> dict[str, dict[str, float]]:
    """`compared`, averaged over classes, in both spaces."""
    x, y = made.as_dataset().tensors
    test = task.normalise(task.test.x)
    rng = Rng.of(0)
    spaces = {"pixels": lambda x: x.flatten(1), "trained": features(task)}
    found = {}
    for name, space in spaces.items():
        rows = []
        for c in range(len(task.classes)):
            own = space(x[y == c])
            rows.append(compared(own, space(test[task.test.y == c][: len(own)]), rng.fold(c)))
        found[name] = {column: sum(row[column] for row in rows) / len(rows) for column in COLUMNS}
    return found


def features(task: Task) -> Callable[[torch.Tensor], torch.Tensor]:
    w = train_whole(task, Run(Rng.of(0), precision="bf16"), 2)

    @torch.no_grad()
    def space(x: torch.Tensor) -> torch.Tensor:
        return task.network.features(w, x)

    return space


def table() -> str:
    """All results as Markdown."""
    heads = [f"{column}, {space}" for space in ("pixels", "trained") for column in COLUMNS]
    lines = [f"| data | discrepancy | of | accuracy | updates | {' | '.join(heads)} |", "|---" * (5 + len(heads)) + "|"]
    for record in map(read_json, sorted(RESULTS.glob("*.json"))):
        for row in record["found"]:
            numbers = [f"{row['judged'][space][column]:.2g}" for space in ("pixels", "trained") for column in COLUMNS]
            about = (record["data"], row["discrepancy"], row["features"], f"{mean(row):.1f}", str(row["updates"]))
            lines.append(f"| {' | '.join([*about, *numbers])} |")
    return "\n".join(lines)


def main(
    data: Positional[str] = "digits",
    root: Path | None = None,
    ipc: int = 10,
    seconds: float = 20.0,
    seeds: int = 2,
    only: str = "",
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    if table_only:
        print(table())
        return
    task, out = load_data(data, root=root), RESULTS / f"{data}-ipc{ipc}.json"
    asked = {"data": data, "ipc": ipc, "protocol": JUDGE.name, "seconds": seconds}
    record = read_json(out) if out.exists() else {**asked, "found": []}
    if any(record[key] != value for key, value in asked.items()):
        raise ValueError(f"{out} was measured otherwise: {', '.join(f'{key} {record[key]}' for key in asked)}")
    done = {(row["discrepancy"], row["features"]) for row in record["found"]}
    for name, kind in [("none", ""), *itertools.product([only] if only else DISCREPANCIES, ("network", "pixels"))]:
        if (name, kind) in done:
            continue
        settings = LIKE | {"updates": 1, "lr": 0.0}  # the images that all start from
        if kind:
            settings = LIKE | ADAM | {"discrepancy": name, "features": kind}
            settings["updates"] = max(1, int(seconds * pace(task, METHOD, ipc, settings, windows=1)))
        with Progress(f"{name} {kind}") as progress:
            made = attar.condense(task, METHOD, ipc, compile="on", progress=progress, **settings)
        rows = attar.evaluate(made, task, protocol=JUDGE, seeds=seeds)
        row = {"discrepancy": name, "features": kind, "updates": settings["updates"]}
        row |= {"seconds": made.provenance["seconds"], "accuracies": [r.accuracy for r in rows]}
        record["found"].append(row | {"judged": judged(made, task)})
        print(record["found"][-1], flush=True)
        write_json(out, record | {"machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
