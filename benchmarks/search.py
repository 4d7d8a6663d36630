"""Choose hyper-parameters without the test set: condense nine tenths of the training images, test on the last tenth.

    python benchmarks/search.py mnist --root DATA --ipc 1 --protocol idc --try schedule=constant --try schedule=cosine

Each `--try` is one candidate, `key=value` joined by commas. Writes `results/search/`.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import torch
import tyro
from quality import HOME, commit, machine
from tyro.conf import Positional, UseAppendAction, arg

import attar
from attar.data import load_data
from attar.files import write_json
from attar.progress import Progress
from attar.recipe import parse
from attar.task import Examples, Task


def validation(task: Task) -> Task:
    """The task with a random tenth of its training images as test part."""
    order = torch.randperm(len(task.train.y), generator=torch.Generator().manual_seed(0))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    train, test = (Examples(task.train.x[rows], task.train.y[rows]) for rows in (kept, held))
    return dataclasses.replace(task, train=train, test=test, split="validation: 10 % of the training images")


def main(
    data: Positional[str],
    root: Path,
    candidates: Annotated[UseAppendAction[tuple[str, ...]], arg(name="try")],
    method: str = "m3d",
    ipc: int = 1,
    protocol: str = "dm",
    seeds: int = 2,
) -> None:
    task = validation(load_data(data, root=root))
    found = []
    for candidate in candidates:
        with Progress(candidate) as progress:
            made = attar.condense(task, method, ipc, seed=7, progress=progress, **dict(map(parse, candidate.split(","))))
        rows = attar.evaluate(made, task, protocol=protocol, seeds=seeds)
        found.append({"try": candidate, "accuracies": [row.accuracy for row in rows], "seconds": made.provenance["seconds"]})
        print(found[-1], flush=True)
    record = {"data": data, "method": method, "ipc": ipc, "protocol": protocol, "split": task.split, "found": found}
    write_json(HOME / "results" / "search" / f"{data}-{method}-ipc{ipc}.json", record | {"machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
