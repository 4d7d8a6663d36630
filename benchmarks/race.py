"""All methods on the same machine, learning for the same time: accuracy over seconds, on a tenth of the training images held out.

    python benchmarks/race.py mnist --root DATA --ipc 1 [--seconds 30 120] [--only m3d]
    python benchmarks/race.py --table                            # what is there, as Markdown
    python benchmarks/race.py --choose                           # make the winners what attar takes where no method is named

Each method makes, with its recipe, as many updates as fit into the time at a pace measured first; selections take the time they take.
Networks that a method trains beforehand come on top: their seconds are the method's, whoever trained them. Writes
`results/race/DATA-ipcN.json` and a picture beside it; what is there already is skipped.
"""

import math
import statistics
from pathlib import Path
from typing import Annotated, Any

import tyro
from quality import HOME, TRAINED, commit, fields, machine
from search import mean, pace, validation
from speed import pyplot
from tyro.conf import Positional, arg

import attar
from attar.cli.progress import Progress
from attar.data.load import load_data
from attar.data.task import Task
from attar.files import read_json, write_json
from attar.methods import names
from attar.wording import duration

RESULTS, WINNERS = HOME / "results" / "race", HOME / "src" / "attar" / "recipes" / "best.toml"
NOISE = 0.5  # points between two runs with two networks each that mean nothing


def entries(
    task: Task, method: str, ipc: int, budgets: tuple[float, ...], protocol: str, seeds: int
) -> list[dict[str, Any]]:
    """One run for each of the `budgets` in seconds, or one where the method takes no time to speak of."""
    found = []
    learned = "updates" in fields(method)
    rate = pace(task, method, ipc, {}) if learned else 0.0
    for seconds in budgets if learned else (0.0,):
        settings: dict[str, Any] = TRAINED if "epochs" in fields(method) and not learned else {}
        if learned:
            settings = {"updates": max(1, int(rate * seconds)), "compile": "on"}
        with Progress(f"{method}, {duration(seconds)}") as progress:
            made = attar.condense(task, method, ipc, seed=7, progress=progress, **settings)
        rows = attar.evaluate(made, task, protocol=protocol, seeds=seeds)
        found.append(
            {
                "method": method,
                "budget": seconds,
                "seconds": made.provenance["seconds"],
                "accuracies": [r.accuracy for r in rows],
            }
        )
        found[-1] |= {"hyperparameters": made.provenance["hyperparameters"], "machine": machine(), "commit": commit()}
        print(found[-1], flush=True)
    return found


def table() -> str:
    """All results as Markdown, methods by their best accuracy."""
    lines = ["| data | IPC | method | accuracy after so many seconds |", "|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        methods = {
            entry["method"]: [e for e in record["found"] if e["method"] == entry["method"]] for entry in record["found"]
        }
        for method, runs in sorted(methods.items(), key=lambda item: -max(map(mean, item[1]))):
            course = ", ".join(f"{mean(run):.1f} ({run['seconds']:.0f})" for run in runs)
            lines.append(f"| {record['data']} | {record['ipc']} | {method} | {course} |")
    return "\n".join(lines)


def winners() -> str:
    """What `attar.choice` reads: the method of the best run at each data set and budget, or one within `NOISE` points in half the time.

    A race that some method has not run yet has no winner.
    """
    lines = ["# Written by benchmarks/race.py --choose from results/race."]
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        best = {run["method"]: run for run in sorted(record["found"], key=mean)}
        if best.keys() != set(names()):
            continue
        ranked = sorted(best.values(), key=mean, reverse=True)
        near = [
            run for run in ranked if mean(run) >= mean(ranked[0]) - NOISE and run["seconds"] <= ranked[0]["seconds"] / 2
        ]
        first = min([ranked[0], *near], key=lambda run: run["seconds"])
        runner_up, *others = [run for run in ranked if run is not first]
        quick = [
            run for run in others if run["budget"] and run["seconds"] < min(first["seconds"] / 2, runner_up["seconds"])
        ]
        beside = [f"next {told(runner_up)}", *(f"quicker {told(run)}" for run in quick[:1])]
        right, after = f"{mean(first):.1f} % accuracy on held-out images", duration(first["seconds"])
        reason = f"{right} after {after} in a race of {len(best)} methods ({', '.join(beside)})"
        lines += [f"\n[{record['data']}.{record['ipc']}]", f'method = "{first["method"]}"', f'why = "{reason}"']
    return "\n".join(lines) + "\n"


def told(run: dict[str, Any]) -> str:
    return f"{run['method']} {mean(run):.1f} after {duration(run['seconds'])}"


def picture(record: dict[str, Any], out: Path) -> None:
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    ends: list[list[tuple[str, float, float]]] = []  # those at one place share a label
    for method in dict.fromkeys(entry["method"] for entry in record["found"]):
        course = [(max(1.0, entry["seconds"]), mean(entry)) for entry in record["found"] if entry["method"] == method]
        axes.plot(*zip(*course, strict=True), marker="o", markersize=4)
        end = (method, *course[-1])
        near = [
            group for group in ends if abs(math.log10(group[0][1] / end[1])) < 0.1 and abs(group[0][2] - end[2]) < 1
        ]
        near[0].append(end) if near else ends.append([end])
    for together in ends:
        names, xs, ys = zip(*together, strict=True)
        axes.annotate(
            ", ".join(names),
            (max(xs), statistics.fmean(ys)),
            (6, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )
    axes.set(xscale="log", xlabel="seconds of condensation", ylabel="accuracy on held-out training images, %")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=130)


def main(
    data: Positional[str] = "digits",
    root: Path | None = None,
    ipc: int = 1,
    seconds: tuple[float, ...] = (30.0, 120.0),
    protocol: str = "idc",
    seeds: int = 2,
    only: str = "",
    table_only: Annotated[bool, arg(name="table")] = False,
    choose: bool = False,
) -> None:
    if table_only:
        print(table())
        return
    if choose:
        WINNERS.write_text(winners())
        return
    task, out = validation(load_data(data, root=root)), RESULTS / f"{data}-ipc{ipc}.json"
    record = {"data": data, "ipc": ipc, "protocol": protocol, "split": task.split, "found": []}
    if out.exists():
        record = read_json(out)
        earlier = record["protocol"], sorted({entry["budget"] for entry in record["found"] if entry["budget"]})
        if earlier != (protocol, sorted(seconds)):
            raise SystemExit(f"{out} has a race by {earlier[0]} with {earlier[1]} seconds: all in a race have the same")
    done = {entry["method"] for entry in record["found"]}
    for method in [only] if only else names():
        if method not in done:
            record["found"] += entries(task, method, ipc, seconds, protocol, seeds)
            write_json(out, record)
    picture(record, out.with_suffix(".png"))


if __name__ == "__main__":
    tyro.cli(main)
