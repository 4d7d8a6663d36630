"""How near Attar's loops are to the machine's limits, and how far from the published loops.

    python benchmarks/speed.py --name NAME [--only PATTERN] [--device cpu] [--seconds 20]
    python benchmarks/speed.py --table                # what is there, as Markdown; of another machine with --name
    python benchmarks/speed.py --growth               # how it grows with the data, as Markdown

Each path runs beside its literal version (benchmarks/literal), in processes of their own, which take turns, so that
neither disturbs the other and noise of the machine meets both. The machine's ceilings (a large matrix product, a large
copy) are measured in every turn too. What results/speed/NAME.json holds already is skipped. Images are random: speed
does not depend on what they show.
"""

import os
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

# as the command line has it: who is not at turn must not spin for long
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import tyro
from courses import paths
from quality import HOME, kept, usual_name
from turns import alone, measure
from tyro.conf import arg

from attar.engine.device import keep_freed_memory
from attar.files import read_json, write_json

RESULTS = HOME / "results" / "speed"
FEW = 5  # turns that say how near a path comes to products of the same turn


def share(entry: dict[str, Any], records: list[dict[str, Any]]) -> float:
    """Of the ceiling: the best matrix product seen beside any path, or the best copy where there is none to do."""
    moved = {path.name: path.bytes for path in paths()}[entry["path"]] / entry["seconds"]
    ceiling = entry["precision"] if entry["flop"] else "bytes"
    alike = [record for record in records if bool(record["flop"]) == bool(entry["flop"])]
    return (entry["flop per second"] or moved) / max(record["ceilings"][ceiling] for record in alike)


def recorded(out: Path) -> list[dict[str, Any]]:
    """All results of a file, in the order of `paths`."""
    names = [path.name for path in paths()]
    return sorted(read_json(out)["paths"], key=lambda record: names.index(record["path"]))


def table(out: Path = RESULTS / "cpu.json") -> str:
    """All results of a file as Markdown; a turn of training is 20 steps, of all others one update or call."""
    records = recorded(out)
    lines = [
        "| path | precision | a turn | GFLOP/s | of the ceiling | × literal | memory, literal's |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in records:
        beside = f", {100 * r['share beside']:.0f} %" if "share beside" in r and r["turns"] >= FEW else ""
        work = f"{r['flop per second'] / 1e9:.0f}" if r["flop"] else "", f"{100 * share(r, records):.0f} %{beside}"
        memory = f"{r['memory'] / 2**30:.1f}, {r['literal memory'] / 2**30:.1f} GiB"
        cells = (r["path"], r["precision"], f"{r['seconds']:.3g} s", *work, f"{r['ratio']:.1f}", memory)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


COLOURS = {"fp32": "#3b6ea5", "tf32": "#6b9ac4", "bf16": "#d1762f"}


def picture(records: list[dict[str, Any]], out: Path) -> None:
    shown = [record for record in records if record["flop"]]
    names = list(dict.fromkeys(record["path"] for record in shown))
    precisions = sorted({record["precision"] for record in shown})
    figure, axes = pyplot().subplots(figsize=(8, 0.8 + 0.32 * len(names)), layout="constrained")
    for record in shown:
        height = 0.8 / len(precisions)
        y = names.index(record["path"]) + 0.4 - height * (precisions.index(record["precision"]) + 0.5)
        width = 100 * share(record, records)
        axes.barh(y, width, 0.95 * height, color=COLOURS[record["precision"]])
        axes.text(width + 1, y, f"{record['ratio']:.1f} ×", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 110)
    axes.set_xlabel("per cent of a large matrix product\nbeside: times as fast as the literal loop")
    patches = [pyplot().Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in precisions]
    axes.legend(patches, precisions, loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=130)


AXES = {"classes": 0, "px": 1, "IPC": 2}  # where a path's name has them


def sizes(path: str) -> tuple[str, tuple[int, int, int]]:
    """`dm, 10 classes, 32 px, IPC 1` as the method, and classes, side and images a class."""
    method, *numbers = path.split(", ")
    classes, side, ipc = (int(word) for part in numbers for word in part.split() if word.isdigit())
    return method, (classes, side, ipc)


Series = dict[tuple[str, tuple[int, ...]], dict[int, dict[str, dict[str, Any]]]]


def series(records: list[dict[str, Any]], axis: str) -> Series:
    """Updates that differ in one size only: by method and the other sizes, then by that size, then by precision.

    Images of 28 pixels are grey and have no place in a series of sides.
    """
    found: Series = {}
    for record in records:
        if record["path"].startswith(("dm, ", "m3d, ")):
            method, own = sizes(record["path"])
            at = AXES[axis]
            if axis != "px" or own[at] != 28:
                line = found.setdefault((method, own[:at] + own[at + 1 :]), {})
                line.setdefault(own[at], {})[record["precision"]] = record
    return {key: dict(sorted(line.items())) for key, line in found.items() if len(line) > 1}


def growth(out: Path = RESULTS / "cpu.json") -> str:
    """How many times as much an update takes from the first to the last of each series, as Markdown."""
    records = recorded(out)
    against = sorted({record["precision"] for record in records})
    named = ", ".join(against)
    lines = [f"| update | from | to | work × | seconds ×, {named} | memory ×, {named} |", "|---" * 6 + "|"]
    for axis in AXES:
        for (method, _), line in series(records, axis).items():
            small, large = min(line), max(line)
            first, last = line[small], line[large]
            fixed = [part for part in first["fp32"]["path"].split(", ")[1:] if axis not in part]
            work = last["fp32"]["flop"] / first["fp32"]["flop"]
            ratios = [[last[p][what] / first[p][what] for p in against] for what in ("seconds", "memory")]
            told = [", ".join(f"{ratio:.1f}" for ratio in pair) for pair in ratios]
            cells = (", ".join([method, *fixed]), f"{small} {axis}", f"{large} {axis}", f"{work:.1f}", *told)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def growth_picture(records: list[dict[str, Any]], out: Path) -> None:
    """Seconds and memory of an update over each size, beside lines along which seconds are as the work."""
    found = {axis: series(records, axis) for axis in AXES}
    if not all(found.values()):
        return
    figure, panels = pyplot().subplots(2, len(AXES), figsize=(10, 6), layout="constrained", sharey="row")
    for (axis, lines), (top, bottom) in zip(found.items(), panels.T, strict=True):
        for (method, _), line in lines.items():
            for precision in next(iter(line.values())):
                own = [by[precision] for by in line.values()]
                style = {"color": COLOURS[precision], "marker": "o" if method == "dm" else "s"}
                style |= {"markersize": 4, "linewidth": 0.8}
                as_work = [own[0]["seconds"] * r["flop"] / own[0]["flop"] for r in own]
                top.plot(list(line), [r["seconds"] for r in own], label=f"{method}, {precision}", **style)
                top.plot(list(line), as_work, ":", color="grey", linewidth=0.8)
                bottom.plot(list(line), [r["memory"] / 2**30 for r in own], **style)
        top.set(xscale="log", yscale="log")
        bottom.set(xscale="log", xlabel={"classes": "classes", "px": "side, pixels", "IPC": "images a class"}[axis])
        for panel in (top, bottom):
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xticks(sorted({size for line in lines.values() for size in line}))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("")
    panels[0, 0].set_ylabel("seconds an update\n(dotted: as the work)")
    panels[1, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel("peak memory of the process, GiB")
    panels[0, 0].yaxis.set_major_formatter("{x:g}")
    handles = dict(zip(*reversed(panels[0, -1].get_legend_handles_labels()), strict=True))
    panels[0, 0].legend(handles.values(), handles.keys(), fontsize=7)
    figure.savefig(out, dpi=130)


def main(
    only: str = "*",
    device: str = "cpu",
    seconds: float = 20.0,
    name: str = "",
    table_only: Annotated[bool, arg(name="table")] = False,
    growth_only: Annotated[bool, arg(name="growth")] = False,
) -> None:
    """`only`: a pattern of path names; `seconds`: of turns for each path; `name`: of the files.

    Files are called `cpu` by default, or after the GPU.
    """
    out = RESULTS / f"{name or usual_name(device)}.json"
    if table_only or growth_only:
        print(table(out) if table_only else growth(out))
        return
    keep_freed_memory()
    done = {entry["path"] for entry in kept(out, device, {"paths": []})["paths"]}
    for path in paths():
        if not fnmatch(path.name, only) or path.name in done:
            continue
        found = measure(path, device, seconds)
        for entry in found:
            rate = f"{entry['ratio']:.2f} times the literal loop, {entry['flop per second'] / 1e9:.0f} GFLOP/s"
            text = f"{path.name}, {entry['precision']}: {entry['seconds']:.3g} s, {rate}"
            print(text, file=sys.stderr, flush=True)
        with alone():
            record = kept(out, device, {"paths": []})
            write_json(out, record | {"paths": record["paths"] + found})
    if not out.exists():
        raise SystemExit(f"no path is called {only}: " + ", ".join(path.name for path in paths()))
    picture(recorded(out), out.with_suffix(".png"))
    growth_picture(recorded(out), out.with_name(f"{out.stem}-growth.png"))
    print(table(out))


if __name__ == "__main__":
    tyro.cli(main)
