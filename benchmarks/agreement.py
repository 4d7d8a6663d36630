"""How far rounding moves an accuracy: the literal loop against Attar's, and bf16 against fp32.

    python benchmarks/agreement.py --root DATA --name NAME [--device cuda]
    python benchmarks/agreement.py --table            # what is there, as Markdown; of another machine with --name

Training: ten networks on the same ten real MNIST images, one a class, by the published loop (benchmarks/literal) and by
`attar.evaluate`, with the same starts, orders and augmentations. Condensation: M3D at one image a class, condensed and
judged in each precision of the device. Writes results/agreement/NAME.json after each part; what is there already is
skipped.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from literal.training import train
from quality import HOME, commit, kept, usual_name
from turns import precisions
from tyro.conf import arg

import attar
from attar.cli.progress import Progress
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.precision import use_precision
from attar.files import read_json, write_json
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS

RESULTS = HOME / "results" / "agreement"


def parts(task: Task, networks: int, draws: int, device: str) -> Iterator[tuple[str, Any]]:
    """Each part's name and what measures it: accuracies in per cent."""
    few = attar.condense(task, "random", 1)
    yield "training, literal loop in fp32", lambda: [literally(task, few, seed, device) for seed in range(networks)]
    for precision in precisions(device)[::-1]:
        engine = {"device": device, "precision": precision}
        yield f"training in {precision}", lambda engine=engine: accuracies(few, task, "dm", networks, engine)
    for precision in precisions(device)[::-1]:
        engine = {"device": device, "precision": precision}
        yield f"m3d, condensation and training in {precision}", lambda engine=engine: condensed(task, draws, engine)


def literally(task: Task, few: attar.CondensedSet, seed: int, device: str) -> float:
    task = task.to(torch.device(device))
    x, y = (part.to(device) for part in few.as_dataset().tensors)
    with use_precision("fp32"):
        network = train(task, x, y, PROTOCOLS["dm"], Rng.of(seed).fold("evaluate"))
        with torch.no_grad():
            found = torch.cat([network(task.normalise(x)).argmax(1) for x in task.test.x.split(1000)])
    return 100 * (found == task.test.y).float().mean().item()


def accuracies(made: Any, task: Task, protocol: str, seeds: int, engine: dict[str, Any]) -> list[float]:
    return [row.accuracy for row in attar.evaluate(made, task, protocol=protocol, seeds=seeds, **engine)]


def condensed(task: Task, draws: int, engine: dict[str, Any]) -> list[float]:
    with Progress(f"m3d in {engine['precision']}") as progress:
        sets = [attar.condense(task, "m3d", 1, seed=seed, progress=progress, **engine) for seed in range(draws)]
    return accuracies(sets, task, "idc", 2, engine)


def table(out: Path = RESULTS / "cpu.json") -> str:
    """All parts as Markdown, with standard errors; differences are paired, from the first part of a kind."""
    lines, first = ["| what | accuracy | networks | difference |", "|---|---|---|---|"], {}
    for name, values in read_json(out)["found"].items():
        base = first.setdefault(name.partition(" ")[0].strip(","), values)
        differences = [own - other for own, other in zip(values, base, strict=True)]
        beside = "" if base is values else describe(differences, "+")
        lines.append(f"| {name} | {describe(values)} | {len(values)} | {beside} |")
    return "\n".join(lines)


def describe(values: list[float], sign: str = "") -> str:
    """Mean and standard error."""
    return f"{statistics.fmean(values):{sign}.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def main(
    root: Path | None = None,
    networks: int = 10,
    draws: int = 3,
    device: Literal["cpu", "cuda"] = "cpu",
    name: str = "",
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    """`name`: of the file, by default `cpu` or the GPU's."""
    out = RESULTS / f"{name or usual_name(device)}.json"
    if table_only:
        print(table(out))
        return
    record, task = kept(out, device, {"found": {}}), load_data("mnist", root=root)
    for part, measure in parts(task, networks, draws, device):
        if part not in record["found"]:
            record["found"][part] = measure()
            print(part, record["found"][part], flush=True)
            write_json(out, record | {"commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
