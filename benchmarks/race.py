"""All methods on one machine, learning for the same time: accuracy over seconds, on held-out training images.

    python benchmarks/race.py mnist --root DATA --ipc 1 [--seconds 30 120] [--only m3d dance] [--again]
    python benchmarks/race.py --table                 # what is there, as Markdown
    python benchmarks/race.py --choose                # make the winners what attar takes where no method is named

A tenth of the training images is held out. Each method makes, with its recipe, as many updates as fit into the time at
a pace measured first; selections take the time they take. Networks that a method trains beforehand come on top: their
seconds are the method's, whoever trained them. Writes `results/race/DATA-ipcN.json` and a picture beside it.

What is there already is skipped, or with `--again` replaced. Machines differ, and so do days: a method takes the place
of the default only where both were measured in one go, which is one call of this program. So a new method races with
`--again --only`, its own name and that of the default.
"""

import math
import secrets
import statistics
import tomllib
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
from attar.methods import find, list_names
from attar.wording import duration

RESULTS, WINNERS = HOME / "results" / "race", HOME / "src" / "attar" / "recipes" / "best.toml"
NOISE = 0.5  # points between two runs with two networks each that mean nothing
Entry = dict[str, Any]


def enter(
    task: Task, method: str, ipc: int, budgets: tuple[float, ...], protocol: str, seeds: int, go: str
) -> list[Entry]:
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
        entry = {"method": method, "budget": seconds, "seconds": made.provenance["seconds"]}
        entry |= {"accuracies": [r.accuracy for r in rows], "hyperparameters": made.provenance["hyperparameters"]}
        found.append(entry | {"machine": machine(), "commit": commit(), "go": go})
        print(found[-1], flush=True)
    return found


def table() -> str:
    """All results as Markdown, methods by their best accuracy."""
    lines = ["| data | IPC | method | accuracy after so many seconds |", "|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        for method in [run["method"] for run in rank(record["found"])]:
            runs = [run for run in record["found"] if run["method"] == method]
            course = ", ".join(f"{mean(run):.1f} ({run['seconds']:.0f})" for run in runs)
            lines.append(f"| {record['data']} | {record['ipc']} | {method} | {course} |")
    return "\n".join(lines)


def rank(runs: list[Entry]) -> list[Entry]:
    """The best run of each method, the best first."""
    best = {run["method"]: run for run in sorted(runs, key=mean)}
    return sorted(best.values(), key=mean, reverse=True)


def list_missing(runs: list[Entry]) -> list[str]:
    """The methods that have not been entered."""
    return [name for name in list_contenders() if name not in {run["method"] for run in runs}]


def list_contenders() -> list[str]:
    """All methods but those whose result is a generator, and no images of a number that others could have too."""
    return [name for name in list_names() if not getattr(find(name), "generative", False)]


def take_go(runs: list[Entry], one: Entry) -> list[Entry]:
    """Those that were measured on one machine in one go with `one`.

    Where goes have no name yet, the commit stands for it.
    """
    keys = ("machine", "go") if "go" in one else ("machine", "go", "commit")
    return [run for run in runs if all(run.get(key) == one.get(key) for key in keys)]


def find_winner(runs: list[Entry], champion: str | None) -> Entry | None:
    """The best run, or one within `NOISE` points in half the time.

    Only those count that were measured in one go with the champion. Where there is none yet, the go with most methods
    decides, unless no two of them were measured together.
    """
    goes = [rank(take_go(runs, run)) for run in runs if champion in (None, run["method"])]
    best, *others = max(goes, key=len)
    if not others and champion is None:
        return None
    near = [run for run in others if mean(run) >= mean(best) - NOISE and run["seconds"] <= best["seconds"] / 2]
    return min([best, *near], key=lambda run: run["seconds"])


def winners() -> str:
    """What attar reads: the method that wins at each data set and budget, and why.

    A champion that has no entry stays as it is.
    """
    lines = ["# Written by benchmarks/race.py --choose from results/race."]
    champions = tomllib.loads(WINNERS.read_text()) if WINNERS.exists() else {}
    for path in sorted(RESULTS.glob("*.json")):
        record = read_json(path)
        runs, chosen = record["found"], champions.get(record["data"], {}).get(str(record["ipc"]))
        if chosen is None or chosen["method"] in {run["method"] for run in runs}:
            first = find_winner(runs, chosen and chosen["method"])
            chosen = first and {"method": first["method"], "why": explain(first, runs)}
        if chosen:
            lines.append(f"\n[{record['data']}.{record['ipc']}]")
            lines += [f'{key} = "{chosen[key]}"' for key in ("method", "why")]
    return "\n".join(lines) + "\n"


def explain(first: Entry, runs: list[Entry]) -> str:
    """Why it was chosen: what came next, what was quicker, and what was better but in another go."""
    ranked, comparable = rank(runs), take_go(runs, first)
    others = [run for run in ranked if run["method"] != first["method"]]
    apart = [run for run in others if mean(run) > mean(first) and run not in comparable]
    behind = [run for run in others if run not in apart]
    soon = min(first["seconds"] / 2, behind[0]["seconds"]) if behind else 0.0
    told = [f"{mean(first):.1f} % of held-out images after {duration(first['seconds'])}, of {len(ranked)} methods"]
    told += [f"next {describe(run)}" for run in behind[:1]]
    told += [f"quicker {describe(run)}" for run in behind[1:] if run["budget"] and run["seconds"] < soon][:1]
    told += [f"better in another go {describe(run)}" for run in apart]
    return "; ".join(told)


def describe(run: Entry) -> str:
    return f"{run['method']}, {mean(run):.1f} % after {duration(run['seconds'])}"


def picture(record: dict[str, Any], out: Path) -> None:
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    ends: list[list[tuple[str, float, float]]] = []  # those at one place share a label
    for method in dict.fromkeys(entry["method"] for entry in record["found"]):
        course = [(max(1.0, entry["seconds"]), mean(entry)) for entry in record["found"] if entry["method"] == method]
        axes.plot(*zip(*course, strict=True), marker="o", markersize=4)
        x, y = course[-1]
        near = [own for own in ends if abs(math.log10(own[0][1] / x)) < 0.1 and abs(own[0][2] - y) < 1]
        near[0].append((method, x, y)) if near else ends.append([(method, x, y)])
    for together in ends:
        labels, xs, ys = zip(*together, strict=True)
        place, style = (max(xs), statistics.fmean(ys)), {"fontsize": 8, "va": "center"}
        axes.annotate(", ".join(labels), place, (6, 0), textcoords="offset points", **style)
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
    only: tuple[str, ...] = (),
    again: bool = False,
    table_only: Annotated[bool, arg(name="table")] = False,
    choose: bool = False,
) -> None:
    """`only`: these methods, else all; `again`: also those that are there, whose entries are replaced."""
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
    done, go = {entry["method"] for entry in record["found"]}, secrets.token_hex(4)
    for method in only or list_contenders():
        if again or method not in done:
            found = enter(task, method, ipc, seconds, protocol, seeds, go)
            record["found"] = [entry for entry in record["found"] if entry["method"] != method] + found
            write_json(out, record)
    picture(record, out.with_suffix(".png"))
    print("not entered:", ", ".join(list_missing(record["found"])) or "none")


if __name__ == "__main__":
    tyro.cli(main)
