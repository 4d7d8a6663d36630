"""One page, whole in itself, that says what a condensation made and what it is worth."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.tables import show_rows
from attar.data.task import Task
from attar.evaluation.audits.measures import Measure, tabulate_measures
from attar.evaluation.rows import COLUMNS, Row, Summary, explain_marks, list_columns, summarise
from attar.report import figures
from attar.report.names import about, by_budget, key, label_cells, method, name_cell, title
from attar.report.neighbours import show_neighbours
from attar.report.networks import plot_networks, tabulate_networks
from attar.report.place import MARKER, check_place, write_page
from attar.report.planes import place_class, project
from attar.report.settings import list_settings
from attar.report.sheets import draw_opening, make_sheets
from attar.training import protocol
from attar.wording import make_visible, size

TEMPLATE = "page.html.j2"
FEW = 20  # classes whose accuracies are read side by side
# Accuracy beside the method: both stay in sight where a narrow screen scrolls the others.
ORDER = ("method", "accuracy", "ipc", "gain", "protocol", "network", "networks", "stored", "condensed in", "data")
TEXTS = ("data", "method", "protocol", "network")  # columns that are not numbers
SPOKEN = {"random": "random selection", "given": "the given images"}


@checked
def write_report(
    path: str | Path,
    made: Sequence[CondensedSet],
    rows: Sequence[Row],
    task: Task | None = None,
    losses: Mapping[str, Sequence[tuple[int, float]]] = {},
    measures: Sequence[Measure] = (),
) -> Path:
    """An HTML page that needs no network: words, table, charts, pictures, every setting.

    `losses` has the (update, loss) pairs of each run, by the run's name. `task` is the real data, to show and to
    measure beside. `measures` are what audits found. What is not given is left out. Only another report is replaced:
    raises `ValueError` where anything else lies at `path`, or the folder cannot be written to.
    """
    path = Path(path)
    check_place(path)  # now: drawing takes long
    import jinja2  # late: commands that write no page import this module too

    loader = jinja2.PackageLoader("attar.report", ".")
    pages = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=show_controls
    )
    page = pages.get_template(TEMPLATE)
    write_page(path, page.render(collect(made, rows, task, losses, measures)))
    return path


def show_controls(value: Any) -> Any:
    """What a page says, where it is a text from outside: nothing in it turns the order of writing."""
    return make_visible(value) if type(value) is str else value  # markup is of a type of its own


def collect(
    made: Sequence[CondensedSet],
    rows: Sequence[Row],
    task: Task | None,
    losses: Mapping[str, Sequence[tuple[int, float]]],
    measures: Sequence[Measure],
) -> dict[str, Any]:
    """All that the template shows."""
    # The whole set last: the others are to come near to it.
    cells = sorted(summarise(rows), key=lambda cell: (cell.first.method == "whole set", by_budget(cell.first.ipc)))
    sets = first_draws(made)
    best = choose_best(cells, sets)
    subject = next(
        (s for s in sets if best and key(s) == (best.first.method, best.first.ipc)), sets[0] if sets else None
    )
    palette = figures.choose_colours([*map(method, sets), *(cell.first.method for cell in cells)])
    curves = {label: curve for label, curve in losses.items() if len(curve) > 1}  # selections have none
    names, by_network = label_cells(cells), tabulate_networks(cells)
    audits = tabulate_measures(measures)
    example = subject.called if subject else task.called if task else "image"
    return {
        "data": task.name
        if task
        else next((row.data for row in rows), None) or (about(subject, "data") if subject else None),
        "task": task,
        "example": example,
        "opening": subject and example == "image" and draw_opening(subject),
        "subject": subject and size_of(subject, task),
        "best": best,
        "best_name": best and SPOKEN.get(best.first.method, best.first.method),
        "best_title": best and name_cell(best.first),
        "whole": best and find_whole(cells, best),
        "protocols": {row.protocol: tell_protocol(row.protocol) for row in rows},
        "first_look": any(row.protocol.startswith("quick") for row in rows),
        "networks": list(dict.fromkeys(row.network for row in rows)),
        "splits": list(dict.fromkeys(unbroken(row.split) for row in rows)),
        "marker": MARKER,
        "marks": explain_marks(cells),
        "columns": [name for name in ORDER if name in list_columns(cells)],
        "texts": TEXTS,
        "table": table_rows(cells),
        "accuracies": figures.plot_accuracies(cells, names, palette) if cells else None,
        "by_network": by_network and {"table": by_network, "picture": plot_networks(by_network)},
        "audits": audits,
        "neighbours": show_neighbours(sets, task)
        if task and any(one.audit == "distribution" for one in audits)
        else [],
        "losses": figures.plot_losses(curves, colour_curves(curves, palette)) if curves else None,
        "sheets": make_sheets(sets, task) if example == "image" else [],
        "tables": [(title(one), show_rows(one)) for one in sets if one.columns is not None],
        "per_class": by_class(cells, names, made[0].classes if made else task.classes if task else (), best),
        "projection": project(sets, task, subject) if task and subject else None,
        "planes": place_class(task, subject) if task and subject else None,
        "encoder": task.encoder.name if task and task.encoder else "an untrained network",
        "details": [(title(s, seed=True), list_settings(s)) for s in made],
    }


def first_draws(made: Sequence[CondensedSet]) -> list[CondensedSet]:
    """The first draw of each method and budget: others look alike."""
    first: dict[tuple[str, int | None], CondensedSet] = {}
    for one in made:
        if method(one) != "whole set":
            first.setdefault(key(one), one)
    return list(first.values())


def choose_best(cells: Sequence[Summary], sets: Sequence[CondensedSet]) -> Summary | None:
    """The most accurate cell of what the page is about: what was learned, or else random selection."""
    found = {*map(method, sets), *(cell.first.method for cell in cells)}
    subjects = found - set(figures.REFERENCES) or found - {"whole set"} or found
    judged = [cell for cell in cells if cell.first.method in subjects]
    judged = [cell for cell in judged if not saw_more(cell.first)] or judged
    return max(judged, key=lambda cell: cell.mean, default=None)


def saw_more(row: Row) -> bool:
    """Whether its network was trained with more than images and their classes."""
    return bool(row.soft or row.targets or row.generator or row.learned_steps or row.step_size is not None)


def find_whole(cells: Sequence[Summary], best: Summary | None) -> Summary | None:
    """The whole set, judged as the best cell was, where that is another one."""
    others = [cell for cell in cells if cell is not best and cell.first.method == "whole set"]
    return next((cell for cell in others if best and are_alike(cell, best)), None)


def are_alike(a: Summary, b: Summary) -> bool:
    """Whether they differ in how their networks were trained in nothing but the set."""
    first, second = (
        (cell.data, *(getattr(cell.first, name) for name in ("protocol", "network", "eight_bit", "soft", "whitening")))
        for cell in (a, b)
    )
    return first == second


def size_of(made: CondensedSet, task: Task | None) -> dict[str, Any]:
    """What the set takes, and what the data took that it stands for."""
    facts: dict[str, Any] = {
        "each": made.each,
        "stored": len(made.labels),
        "decoded": len(made.decoded_labels()),
        "classes": len(made.classes),
    }
    facts |= {"tiles": made.factor**2, "bytes": unbroken(size(made.bytes["stored"]))}
    facts["small"] = unbroken(size(made.bytes["eight_bit"]))
    if task:
        real = len(task.train.y)
        facts |= {
            "real": real,
            "ratio": f"{real / len(made.labels):.3g}",
            # At 8 bit, but floats for rows of a table.
            "real_bytes": unbroken(size(real * math.prod(task.shape) * (1 if task.columns is None else 4))),
        }
    return facts


def tell_protocol(name: str) -> str:
    return unbroken(protocol.about(name))


def unbroken(text: str) -> str:
    """The text with its numbers in a line with their units and spreads."""
    return re.sub(r"(?<=[\d±]) ", "\u00a0", text)


def table_rows(cells: Sequence[Summary]) -> list[dict[str, Any]]:
    """A row for each cell, with the best of each data, budget, protocol and network marked where there is a choice."""
    groups: dict[tuple, list[Summary]] = {}
    for cell in (cell for cell in cells if cell.first.method != "whole set"):  # which would win each time
        row = cell.first
        groups.setdefault((cell.data, row.ipc, row.generator, row.protocol, row.network, row.remark), []).append(cell)
    best = [max(group, key=lambda cell: cell.mean) for group in groups.values() if len(group) > 1]
    texts = [dict(zip(COLUMNS, map(unbroken, cell.cells()), strict=True)) for cell in cells]
    return [{"cells": own, "best": any(cell is one for one in best)} for own, cell in zip(texts, cells, strict=True)]


def colour_curves(curves: Mapping[str, Any], palette: Mapping[str, str]) -> dict[str, str]:
    """That of the method whose name is in the run's, such as `digits-m3d-ipc10`, or one that no method has."""
    spare = itertools.cycle([colour for colour in figures.SERIES if colour not in palette.values()] or figures.SERIES)
    longest = sorted(palette, key=len, reverse=True)  # one method's name may begin with another's
    return {
        label: next((palette[name] for name in longest if f"-{name}-" in f"-{label}-"), None) or next(spare)
        for label in curves
    }


def by_class(
    cells: Sequence[Summary], names: Sequence[str], classes: Sequence[str], best: Summary | None
) -> dict[str, Any] | None:
    """Accuracies by class; of many classes only the most comparable cells, the hardest class first."""
    chosen = [i for i, cell in enumerate(cells) if len(cell.per_class) == len(classes) > 0]
    if not chosen:
        return None
    order = list(range(len(classes)))
    if len(classes) > FEW and best:
        made = best.first.ipc, best.first.generator
        near = [
            i for i in chosen if are_alike(cells[i], best) and (cells[i].first.ipc, cells[i].first.generator) == made
        ]
        # Thirds of the classes stand side by side, each with room for four columns.
        chosen = [*near, *(i for i in chosen if cells[i].first.method == "whole set" and i not in near)][:4]
        names = [cell.first.method for cell in cells]
        accuracies = [100.0 if accuracy is None else accuracy for accuracy in best.per_class]
        order.sort(key=accuracies.__getitem__)
    columns = [[cells[i].per_class[c] for c in order] for i in chosen]
    return {
        "few": len(classes) <= FEW,
        "classes": [classes[c] for c in order],
        "names": [names[i] for i in chosen],
        "values": columns,
    }
