"""How far rounding moves an accuracy: the literal loop against Attar's, and bf16 against fp32.

    python benchmarks/agreement.py --root DATA
    python benchmarks/agreement.py --table                      # what is there, as Markdown

Training: ten networks on the same ten real MNIST images, one a class, by the published loop (benchmarks/literal) and by
`attar.evaluate`, with the same starts, orders and augmentations. Condensation: M3D at one image a class, condensed and judged in
each precision. Writes results/agreement/mnist.json after each part; what is there already is skipped.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from literal.training import train
from quality import HOME, commit, machine
from tyro.conf import arg

import attar
from attar.data import load_data
from attar.files import read_json, write_json
from attar.progress import Progress
from attar.protocol import PROTOCOLS
from attar.rng import Rng
from attar.run import Precision
from attar.task import Task

OUT = HOME / "results" / "agreement" / "mnist.json"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def parts(task: Task, networks: int, draws: int) -> Iterator[tuple[str, Any]]:
    """Each part's name and what measures it: accuracies in per cent."""
    few = attar.condense(task, "random", 1)
    yield "training, literal loop in fp32", lambda: [literally(task, few, seed) for seed in range(networks)]
    for precision in PRECISIONS:
        yield f"training in {precision}", lambda precision=precision: accuracies(few, task, "dm", networks, precision)
    for precision in PRECISIONS:
        yield f"m3d, condensation and training in {precision}", lambda precision=precision: condensed(task, draws, precision)


def literally(task: Task, few: attar.CondensedSet, seed: int) -> float:
    network = train(task, *few.as_dataset().tensors, PROTOCOLS["dm"], Rng.of(seed).fold("evaluate"))
    with torch.no_grad():
        found = torch.cat([network(task.normalise(x)).argmax(1) for x in task.test.x.split(1000)])
    return 100 * (found == task.test.y).float().mean().item()


def accuracies(made: Any, task: Task, protocol: str, seeds: int, precision: Precision) -> list[float]:
    return [row.accuracy for row in attar.evaluate(made, task, protocol=protocol, seeds=seeds, precision=precision)]


def condensed(task: Task, draws: int, precision: Precision) -> list[float]:
    with Progress(f"m3d in {precision}") as progress:
        sets = [attar.condense(task, "m3d", 1, seed=seed, precision=precision, progress=progress) for seed in range(draws)]
    return accuracies(sets, task, "idc", 2, precision)


def table() -> str:
    """All parts as Markdown, with standard errors; differences are paired, from the first part of a kind."""
    found, lines, first = read_json(OUT)["found"], ["| what | accuracy | networks | difference |", "|---|---|---|---|"], {}
    for name, values in found.items():
        base = first.setdefault(name.partition(" ")[0].strip(","), values)
        difference = "" if base is values else told([own - other for own, other in zip(values, base, strict=True)], "+")
        lines.append(f"| {name} | {told(values)} | {len(values)} | {difference} |")
    return "\n".join(lines)


def told(values: list[float], sign: str = "") -> str:
    """Mean and standard error."""
    return f"{statistics.fmean(values):{sign}.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def main(root: Path | None = None, networks: int = 10, draws: int = 3, table_only: Annotated[bool, arg(name="table")] = False) -> None:
    if table_only:
        print(table())
        return
    task = load_data("mnist", root=root)
    record = read_json(OUT) if OUT.exists() else {"found": {}}
    for name, measure in parts(task, networks, draws):
        if name not in record["found"]:
            record["found"][name] = measure()
            print(name, record["found"][name], flush=True)
            write_json(OUT, record | {"machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
