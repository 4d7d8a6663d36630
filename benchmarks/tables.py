"""What `results/quality` holds, as Markdown.

python benchmarks/tables.py --results    # every row, for docs/results.md
python benchmarks/tables.py --networks   # sets that several networks judged
python benchmarks/tables.py --summary    # four budgets under one protocol, for README.md
python benchmarks/tables.py --plans      # what each condensation was planned to take, and took
"""

import statistics
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any

import tyro
from quality import CELLS, HOME, Cell
from tyro.conf import arg

from attar.files import read_json
from attar.runs.default_method import read_winners
from attar.wording import duration

RESULTS = HOME / "results" / "quality"
SECONDS = HOME / "results" / "seconds" / "cpu.json"  # by benchmarks/seconds.py
TITLES = {
    "mnist": "MNIST",
    "digits": "Digits",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "imagenette64": "Imagenette at 64 pixels",
}
PROTOCOL = "idc"  # of the summary: that of the default methods' recipes


def read(cell: Cell) -> dict[str, Any] | None:
    path = RESULTS / f"{cell.name}.json"
    return read_json(path) if path.exists() else None


def measured() -> list[tuple[Cell, dict[str, Any]]]:
    """Cells that were measured with what was found, in the order of `CELLS`."""
    return [(cell, record) for cell in CELLS if (record := read(cell)) is not None]


def tell_time(record: dict[str, Any], measured: dict[str, str]) -> str:
    """How long condensing took; † marks a processor with AMX."""
    return measured["condensed in"] + " †" * has_tiles(record)


def results() -> str:
    """One table for each data set and budget, with a column for each protocol."""
    groups = groupby(
        (pair for pair in measured() if not pair[0].networks), key=lambda pair: (pair[0].data, pair[0].ipc)
    )
    return "\n\n".join(
        tell_whole(*group) if budget == 0 else "\n".join(one_table(data, budget, list(group)))
        for (data, budget), group in groups
    )


def tell_whole(pair: tuple[Cell, dict[str, Any]]) -> str:
    """A sentence about the whole set, to hold the tables that follow against."""
    cell, record = pair
    accuracy = record["rows"][0]["accuracy"]
    told = f"The whole set, 20 epochs, one network (`whole20`): {accuracy:.1f}. Published: {cell.published}."
    return f"## {TITLES[cell.data]}\n\n{told}"


def one_table(data: str, budget: int, pairs: list[tuple[Cell, dict[str, Any]]]) -> Iterator[str]:
    protocols = list(dict.fromkeys(protocol for cell, _ in pairs for protocol in cell.protocols))
    yield f"### {TITLES[data]}, {budget} image{'s' * (budget > 1)} a class\n"
    yield f"| method | {' | '.join(f'`{name}`' for name in protocols)} | published | networks | condensed in |"
    yield "|" + "---|" * (len(protocols) + 4)
    for cell, record in pairs:
        if cell.apart:  # its columns stand in the row of the first
            continue
        rows = [row for other, own in pairs if label(other) == label(cell) for row in own["measured"]]
        for soft in (False, True) if cell.soft else (False,):
            found = {row["protocol"]: row for row in rows if ("soft labels" in row["method"]) == soft}
            first = found[cell.protocols[0]]
            method = f"`{cell.method}`{cell.suffix.replace('+', ' + ')}" + ", soft labels" * soft
            method += ", a generator" * first["ipc"].startswith("generator")
            # The published value is that of the first protocol, and of the labels that its paper took.
            published = f"{cell.published} (`{cell.protocols[0]}`)" if cell.published and cell.soft == soft else ""
            columns = [found[name]["accuracy"] if name in found else "" for name in protocols]
            told = [method, *columns, published, first["networks"], tell_time(record, first)]
            yield f"| {' | '.join(told)} |"


def label(cell: Cell) -> str:
    return cell.method + cell.suffix


def summary() -> str:
    """Random selection, herding and the default method by one protocol; the whole set in a column of its own."""
    columns = "data", "images a class", "random", "herding", "default method", "whole set (published)", "condensed in"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    alone = [(cell, record) for cell, record in measured() if not cell.networks]
    found = {(cell.data, cell.ipc, label(cell)): record for cell, record in alone if PROTOCOL in cell.protocols}
    wholes = {cell.data: record for cell, record in measured() if cell.method == "whole"}
    published = {cell.data: cell.published.split()[0] for cell in CELLS if cell.method == "whole"}
    for data in TITLES:
        for budget, best in read_winners().get(data, {}).items():
            own, whole = found[data, int(budget), best["method"]], wholes.get(data)
            plain = [tell_accuracy(found.get((data, int(budget), name))) for name in ("random", "herding")]
            told = f"**{tell_accuracy(own)}** (`{best['method']}`)"
            of_whole = f"{whole['rows'][0]['accuracy']:.1f} ({published[data]})" if whole else ""
            line = [TITLES[data], budget, *plain, told, of_whole, tell_seconds(data, int(budget), own)]
            lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def tell_accuracy(record: dict[str, Any] | None) -> str:
    rows = record["measured"] if record else []
    return next((row["accuracy"] for row in rows if row["protocol"] == PROTOCOL), "")


def tell_seconds(data: str, ipc: int, record: dict[str, Any]) -> str:
    """Without products in bf16, ≈ where it is planned only; in brackets with AMX, where that was measured."""
    cells = read_json(SECONDS)["cells"] if SECONDS.exists() else []
    own = next((cell for cell in cells if (cell["data"], cell["ipc"]) == (data, ipc)), {"planned": 0})
    plain = duration(float(own["seconds"])) if "seconds" in own else f"≈ {duration(60.0 * round(own['planned'] / 60))}"
    fast = f" ({record['measured'][0]['condensed in']})" if has_tiles(record) else ""
    return plain + fast


def has_tiles(record: dict[str, Any]) -> bool:
    """Whether the condensing processor multiplied bf16 in tiles (AMX)."""
    return "Xeon" in record["machine"]["cpu"]


def by_network() -> str:
    """A line for each set, a column for each network that was trained on it."""
    judged = [(cell, record) for cell, record in measured() if cell.networks]
    names = list(dict.fromkeys(row["network"] for _, record in judged for row in record["measured"]))
    lines = [f"| set | protocol | {' | '.join(names)} | networks each |", "|---" * (len(names) + 3) + "|"]
    for cell, record in judged:
        found = {row["network"]: row for row in record["measured"]}
        told = [f"{TITLES[cell.data]}, {cell.ipc} a class, `{label(cell)}`", f"`{cell.protocols[0]}`"]
        told += [found[name]["accuracy"] if name in found else "" for name in names]
        lines.append(f"| {' | '.join(told)} | {record['measured'][0]['networks']} |")
    return "\n".join(lines)


def plans() -> str:
    """Seconds of each condensation as `--dry-run` said before and as measured. What came from the cache is left out."""
    lines = ["| data | IPC | method | planned | taken | planned / taken |", "|---" * 6 + "|"]
    for cell, record in measured():
        made, planned = record["condensation"], record.get("planned seconds")
        if planned is None or ("models" in made[0]["hyperparameters"] and "cached_seconds" not in made[0]):
            continue
        taken = statistics.fmean(own["seconds"] - own.get("cached_seconds", 0) for own in made)
        told = f"{planned:.0f} s | {taken:.0f} s | {planned / taken:.2f}"
        lines.append(f"| {cell.data} | {cell.ipc} | {cell.method}{cell.suffix} | {told} |")
    return "\n".join(lines)


def main(
    results_only: Annotated[bool, arg(name="results")] = False,
    summary_only: Annotated[bool, arg(name="summary")] = False,
    networks_only: Annotated[bool, arg(name="networks")] = False,
    plans_only: Annotated[bool, arg(name="plans")] = False,
) -> None:
    """Print one of the tables."""
    asked = {results: results_only, summary: summary_only, by_network: networks_only, plans: plans_only}
    for table in (one for one, wanted in asked.items() if wanted):
        print(table())


if __name__ == "__main__":
    tyro.cli(main)
