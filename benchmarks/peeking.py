"""What it adds to an accuracy to choose the epoch on the test set: the best seen on the way, beside the last.

    python benchmarks/peeking.py cifar10 --sets FOLDER --root DATA [--protocol idc] [--seeds 3] [--soft]
    python benchmarks/peeking.py --table              # what is there, as Markdown

`FOLDER` holds a condensed set, such as runs/quality/cpu/cifar10-m3d-ipc1-seed0.

Seeds, orders and draws are those of `attar.evaluate`; each network is tested every `EVERY` epochs. Writes
results/peeking/FOLDER-PROTOCOL.json for every set, with `--soft` one more; what is there already is skipped.
"""

import statistics
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from quality import HOME, commit, machine
from tyro.conf import Positional, arg

import attar
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.precision import default_precision
from attar.engine.run import Run
from attar.evaluation.evaluate import protocol_by_name
from attar.files import read_json, write_json
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.fit import fit, predict
from attar.training.protocol import Protocol

RESULTS = HOME / "results" / "peeking"
EVERY = 100  # epochs


def course(made: attar.CondensedSet, task: Task, protocol: Protocol, seed: int, soft: bool) -> list[float]:
    """Test accuracies in per cent of one network, the last epoch's at the end."""
    x, y = made.as_dataset(soft=soft).tensors
    rng = Rng.of(seed).fold("evaluate")
    run = Run(rng, precision=default_precision(torch.device("cpu")), compile="on")
    test_x, test_y = task.normalise(task.test.x), task.test.y
    seen, done, looks = [], 0, protocol.epochs // EVERY
    often = protocol.updates(len(x)) / looks

    def look(networks: list[Weights]) -> None:
        nonlocal done
        done += 1
        if done >= often * (len(seen) + 1):
            (found,) = predict(task.network, networks, lambda part: test_x[part], len(test_y), run)
            seen.append(100 * (found == test_y).float().mean().item())

    fit(task.network, x, y, protocol, rng, run, flip=task.flip, tick=look)
    return seen


def table() -> str:
    """All sets as Markdown: means over networks and the standard error of the differences, network by network."""
    lines = ["| set | protocol | last epoch | best of the epochs seen | difference | networks |", "|---" * 6 + "|"]
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        last, best = ([end(own) for own in record["courses"]] for end in (lambda own: own[-1], max))
        gains = [b - a for a, b in zip(last, best, strict=True)]
        means = [f"{statistics.fmean(values):.1f}" for values in (last, best, gains)]
        error = f" ± {statistics.stdev(gains) / len(gains) ** 0.5:.1f}" if len(gains) > 1 else ""
        what = record["set"] + " (soft labels)" * record["soft"]
        lines.append(f"| {what} | {record['protocol']} | {means[0]} | {means[1]} | +{means[2]}{error} | {len(gains)} |")
    return "\n".join(lines)


def main(
    data: Positional[str] = "digits",
    sets: tuple[Path, ...] = (),
    root: Path | None = None,
    protocol: str = "idc",
    seeds: int = 3,
    soft: bool = False,
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    if table_only:
        print(table())
        return
    task = load_data(data, root=root)
    for folder in sets:
        made = attar.load(folder)
        about: dict[str, Any] = {"set": folder.name, "protocol": protocol, "soft": soft}
        out = RESULTS / f"{folder.name}-{protocol}{'-soft' * soft}.json"
        if out.exists():
            continue
        courses = [course(made, task, protocol_by_name(protocol), seed, soft) for seed in range(seeds)]
        print(out.stem, *courses, sep="\n", flush=True)
        condensation = {"condensation": made.provenance, "every": EVERY}
        write_json(out, about | {"courses": courses, **condensation, "machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
