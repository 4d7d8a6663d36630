"""How far TESLA's gradient turns from the exact one, by steps of the student, images a class and step size.

    python benchmarks/tesla.py --root DATA
    python benchmarks/tesla.py --table              # what is there, as Markdown

On CIFAR-10 in fp32, eagerly. The student starts where a network starts, and should arrive where that is after two
epochs of training; images are real ones. Writes `results/tesla/cifar10.json` with machine and commit.
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import tyro
from quality import HOME, commit, machine
from tyro.conf import arg

from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.run import Run
from attar.files import read_json, write_json
from attar.methods._unrolled import Learner
from attar.methods.trajectory._student import Stretch, Student
from attar.rng import Rng
from attar.training.protocol import DSA
from attar.training.train import SGD
from attar.training.trajectories import Experts
from attar.training.unrolled import Through, Unrolled

RESULTS = HOME / "results" / "tesla"
RNG = Rng.of(0)
CELLS = [(10, 1, 0.001), (50, 1, 0.001), (10, 1, 0.01), (50, 1, 0.01), (30, 10, 0.01), (50, 1, 0.05)]
EPOCHS = 2


def compare(task: Task, walk: torch.Tensor, steps: int, ipc: int, step_size: float) -> dict[str, Any]:
    """The cosine of the two gradients of the images, and how many times as long TESLA's is."""
    x = task.images(task.indices(range(10), ipc, RNG.fold("images"))).flatten(0, 1).requires_grad_()
    y, lr = torch.arange(10).repeat_interleave(ipc), torch.tensor(step_size)
    found = [gradient(task, Stretch(walk[0], walk[-1]), x, y, lr, steps, through) for through in ("exact", "tesla")]
    exact, tesla = (part.flatten().double() for part in found)
    return {
        "steps": steps,
        "images a class": ipc,
        "step size": step_size,
        "cosine": F.cosine_similarity(exact, tesla, dim=0).item(),
        "length": (tesla.norm() / exact.norm()).item(),
    }


def gradient(
    task: Task, goal: Stretch, x: torch.Tensor, y: torch.Tensor, lr: torch.Tensor, steps: int, through: Through
) -> torch.Tensor:
    plain, run = SGD(momentum=0.0, weight_decay=0.0), Run(RNG, compile="off")
    unrolled = Unrolled.of(task.network, task.shape, plain, 0, run, through)
    student = Student(Learner(task, unrolled, None, DSA), task.network.init(RNG), steps)
    return torch.autograd.grad(student.miss(goal, x, y, lr, RNG), x)[0]


def table() -> str:
    lines = ["| steps | images a class | step size | cosine | length |", "|---" * 5 + "|"]
    for cell in read_json(RESULTS / "cifar10.json")["cells"]:
        cosine, length = cell["cosine"], cell["length"]
        told = f"| {cell['steps']} | {cell['images a class']} | {cell['step size']} | {cosine:.4f} | {length:.2f} × |"
        lines.append(told)
    return "\n".join(lines)


def main(root: Path | None = None, table_only: Annotated[bool, arg(name="table")] = False) -> None:
    """`root`: the folder of the data sets."""
    if table_only:
        print(table())
        return
    task = load_data("cifar10", root=root)
    (walk,) = Experts(1, EPOCHS).load(task, Run(RNG))
    cells = [compare(task, walk, *cell) for cell in CELLS]
    write_json(RESULTS / "cifar10.json", {"cells": cells, "machine": machine(), "commit": commit()})
    print(table())


if __name__ == "__main__":
    tyro.cli(main)
