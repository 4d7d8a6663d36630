"""Choose hyper-parameters without the test set: condense nine tenths of the training images, test on the last tenth.

    python benchmarks/search.py mnist --root DATA --ipc 1 --protocol idc --try schedule=constant --try schedule=cosine
    python benchmarks/search.py --table               # what is there, as Markdown

Each `--try` is one candidate, `key=value` joined by commas. With `--seconds` every candidate makes as many updates as
fit into that time at its own pace, measured first. Writes `results/search/NAME.json` after every candidate; what is
there already is skipped.
"""

import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from quality import HOME, commit, machine
from tyro.conf import Positional, UseAppendAction, arg

import attar
from attar.cli.progress import Progress
from attar.data.load import load_data
from attar.data.task import Examples, Task
from attar.files import read_json, write_json
from attar.runs.recipe import parse_setting

RESULTS = HOME / "results" / "search"
WARM_UP, PACE, WINDOWS = 10, 5.0, 3  # updates, seconds, and how many times so many


def validation(task: Task) -> Task:
    """The task with a random tenth of its training images as test part."""
    order = torch.randperm(len(task.train.y), generator=torch.Generator().manual_seed(0))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    train, test = (Examples(task.train.x[rows], task.train.y[rows]) for rows in (kept, held))
    return dataclasses.replace(task, train=train, test=test, split="validation: 10 % of the training images")


class Measured(Exception):
    pass


def pace(task: Task, method: str, ipc: int, settings: dict[str, Any], windows: int = WINDOWS) -> float:
    """Updates a second, without the first ones, which wait for the compiler.

    The best of some windows, as later ones may wait too.
    """
    begun: list[tuple[int, float]] = []
    rates: list[float] = []

    def watch(done: int, total: int, loss: float) -> None:
        now = time.perf_counter()
        if math.isnan(loss) or done < WARM_UP:
            return  # a network is trained first, or the compiler is at work
        if begun and now - begun[-1][1] > PACE:
            rates.append((done - begun[-1][0]) / (now - begun[-1][1]))
            if len(rates) == windows:
                raise Measured
        if len(begun) == len(rates):
            begun.append((done, now))

    with contextlib.suppress(Measured):
        attar.condense(task, method, ipc, compile="on", progress=watch, **settings | {"updates": 10**6})
    return max(rates)


def table() -> str:
    """All comparisons as Markdown, the best of each first; the accuracies' mean over networks."""
    lines = ["| data | IPC | method | settings | seconds | accuracy |", "|---|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        for row in sorted(record["found"], key=mean, reverse=True):
            settings, seconds = row["try"].replace(",", " "), f"{row['seconds']:.0f}" if row["seconds"] else ""
            cells = (record["data"], str(record["ipc"]), record["method"], f"`{settings}`", seconds, f"{mean(row):.1f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(row: dict[str, Any]) -> float:
    return sum(row["accuracies"]) / len(row["accuracies"])


def main(
    data: Positional[str] = "digits",
    root: Path | None = None,
    candidates: Annotated[UseAppendAction[tuple[str, ...]], arg(name="try")] = (),
    method: str = "m3d",
    ipc: int = 1,
    protocol: str = "dm",
    seeds: int = 2,
    seconds: float | None = None,
    name: str = "{data}-{method}-ipc{ipc}",
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    if table_only:
        print(table())
        return
    if not candidates:
        raise SystemExit("name at least one candidate with --try")
    task = validation(load_data(data, root=root))
    out = RESULTS / f"{name.format(data=data, method=method, ipc=ipc)}.json"
    record = {"data": data, "method": method, "ipc": ipc, "protocol": protocol, "split": task.split, "seconds": seconds}
    found: list[dict[str, Any]] = []
    if out.exists():
        kept = read_json(out)
        if {key: kept[key] for key in record} != record:
            raise SystemExit(f"{out} has another comparison: give this one a --name")
        found = kept["found"]
    candidates = tuple(candidate for candidate in candidates if candidate not in [row["try"] for row in found])
    settings = [dict(map(parse_setting, candidate.split(","))) for candidate in candidates]
    if seconds is not None:
        settings = [own | {"updates": int(seconds * pace(task, method, ipc, own))} for own in settings]
        print([own["updates"] for own in settings], flush=True)
    for candidate, own in zip(candidates, settings, strict=True):
        with Progress(candidate) as progress:
            made = attar.condense(task, method, ipc, seed=7, compile="on", progress=progress, **own)
        accuracies = [row.accuracy for row in attar.evaluate(made, task, protocol=protocol, seeds=seeds)]
        found.append({"try": candidate, **own, "accuracies": accuracies, "seconds": made.provenance["seconds"]})
        print(found[-1], flush=True)
        write_json(out, record | {"found": found, "machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
