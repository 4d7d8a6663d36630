"""One page, whole in itself, that says what a condensation made and what it is worth."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attar.condensed.card import brief
from attar.data.normalisation import unit
from attar.evaluation.rows import COLUMNS, Row, Summary, summarise
from attar.files import write_text
from attar.report import figures
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS
from attar.wording import duration, size

if TYPE_CHECKING:
    from attar.condensed.condensed_set import CondensedSet
    from attar.data.task import Task

TEMPLATE = "page.html.j2"
PIXELS = 1_900_000  # bytes of pixels on the page, before compression; 2.5 MB in base64, as it is to go by mail
PROJECTED, FLOPS = 700, 2e11  # real images of the projection; fewer where a network would take longer than some seconds
FEW = 20  # classes whose accuracies are read side by side
TEXT = ("data", "method", "protocol")  # columns that are not numbers


def write_report(
    path: Path,
    made: Sequence["CondensedSet"],
    rows: Sequence[Row],
    task: "Task | None" = None,
    losses: Mapping[str, Sequence[tuple[int, float]]] = {},
) -> Path:
    """An HTML page that needs no network: words, table, charts, pictures, every setting.

    `losses` has the (update, loss) pairs of each run, by the run's name. `task` is the real data, to show and to
    measure beside. What is not given is left out.
    """
    import jinja2  # late: commands that write no page import this module too

    loader = jinja2.PackageLoader("attar.report", ".")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = pages.get_template(TEMPLATE)
    write_text(Path(path), page.render(collect(made, rows, task, losses)))
    return Path(path)


def collect(
    made: Sequence["CondensedSet"],
    rows: Sequence[Row],
    task: "Task | None",
    losses: Mapping[str, Sequence[tuple[int, float]]],
) -> dict[str, Any]:
    """All that the template shows."""
    # The whole set last: it is what the others are to come near to.
    cells = sorted(summarise(rows), key=lambda cell: (cell.first.method == "whole set", cell.first.ipc))
    sets = first_draws(made)
    judged = [cell for cell in cells if cell.first.method not in figures.REFERENCES]
    judged = [cell for cell in judged if not cell.first.soft] or judged  # others were trained on more than images
    best = max(judged, key=lambda cell: cell.mean, default=None)
    subject = next(
        (s for s in sets if best and key(s) == (best.first.method, best.first.ipc)), sets[0] if sets else None
    )
    palette = figures.choose_colours([*map(method, sets), *(cell.first.method for cell in cells)])
    curves = {label: curve for label, curve in losses.items() if len(curve) > 1}  # selections have none
    names = label_cells(cells)
    return {
        "data": task.name
        if task
        else next((row.data for row in rows), None) or (about(subject, "data") if subject else None),
        "task": task,
        "subject": subject and size_of(subject, task),
        "best": best,
        "whole": best
        and next((c for c in cells if c.first.method == "whole set" and are_alike(c.first, best.first)), None),
        "protocols": {row.protocol: PROTOCOLS[row.protocol].about if row.protocol in PROTOCOLS else "" for row in rows},
        "networks": list(dict.fromkeys(row.network for row in rows)),
        "splits": list(dict.fromkeys(row.split for row in rows)),
        "columns": [(name, name not in TEXT) for name in COLUMNS],
        "table": table_rows(cells),
        "accuracies": figures.plot_accuracies(cells, names, palette) if cells else None,
        "losses": figures.plot_losses(curves, colour_curves(curves, palette)) if curves else None,
        "sheets": make_sheets(sets, task),
        "per_class": by_class(cells, names, made[0].classes if made else task.classes if task else (), best),
        "projection": project(sets, task, subject) if task and subject else None,
        "details": [(title(s, seed=True), list_settings(s)) for s in made],
    }


def about(made: "CondensedSet", name: str, default: Any = None) -> Any:
    return made.provenance.get(name, default)


def method(made: "CondensedSet") -> str:
    return about(made, "method", "given")


def key(made: "CondensedSet") -> tuple[str, int]:
    return method(made), made.ipc


def title(made: "CondensedSet", *, seed: bool = False) -> str:
    drawn = f", seed {about(made, 'seed')}" if seed and about(made, "seed") is not None else ""
    return f"{method(made)}, {made.ipc} per class{drawn}"


def first_draws(made: Sequence["CondensedSet"]) -> list["CondensedSet"]:
    """The first draw of each method and budget: others look alike."""
    first: dict[tuple[str, int], CondensedSet] = {}
    for one in made:
        if method(one) != "whole set":
            first.setdefault(key(one), one)
    return list(first.values())


def are_alike(a: Row, b: Row) -> bool:
    return (a.data, a.protocol, a.network, a.eight_bit, a.soft) == (b.data, b.protocol, b.network, b.eight_bit, b.soft)


def size_of(made: "CondensedSet", task: "Task | None") -> dict[str, Any]:
    """What the set takes, and what the data took that it stands for."""
    facts: dict[str, Any] = {
        "ipc": made.ipc,
        "stored": len(made.labels),
        "decoded": len(made.decoded_labels()),
        "classes": len(made.classes),
    }
    facts |= {"tiles": made.factor**2, "bytes": size(made.bytes["stored"]), "small": size(made.bytes["eight_bit"])}
    if task:
        real = len(task.train.y)
        facts |= {
            "real": real,
            "ratio": f"{real / len(made.labels):.3g}",
            "real_bytes": size(real * math.prod(task.shape)),
        }
    return facts


def label_cells(cells: Sequence[Summary]) -> list[str]:
    """A name for each cell, as short as tells them apart."""
    varied = [
        name for name in ("data", "protocol", "network") if len({getattr(cell.first, name) for cell in cells}) > 1
    ]
    names = []
    for row in (cell.first for cell in cells):
        own = row.method if row.method == "whole set" else f"{row.method}, {row.ipc} per class"
        names.append(", ".join([own, *(getattr(row, name) for name in varied)]) + row.remark)
    return names


def table_rows(cells: Sequence[Summary]) -> list[dict[str, Any]]:
    """A row for each cell, with the best of each data, budget and protocol marked where there is a choice."""
    groups: dict[tuple, list[Summary]] = {}
    for cell in (cell for cell in cells if cell.first.method != "whole set"):  # which would win each time
        groups.setdefault((cell.first.data, cell.first.ipc, cell.first.protocol, cell.first.remark), []).append(cell)
    best = [max(group, key=lambda cell: cell.mean) for group in groups.values() if len(group) > 1]
    return [
        {"cells": list(zip(cell.cells(), COLUMNS, strict=True)), "best": any(cell is one for one in best)}
        for cell in cells
    ]


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
        near = [i for i in chosen if are_alike(cells[i].first, best.first) and cells[i].first.ipc == best.first.ipc]
        # Thirds of the classes stand side by side, each with room for four columns.
        chosen = [*near, *(i for i in chosen if cells[i].first.method == "whole set" and i not in near)][:4]
        names = [cell.first.method for cell in cells]
        order.sort(key=lambda c: best.per_class[c])
    columns = [[cells[i].per_class[c] for c in order] for i in chosen]
    return {
        "few": len(classes) <= FEW,
        "classes": [classes[c] for c in order],
        "names": [names[i] for i in chosen],
        "values": columns,
    }


def make_sheets(sets: Sequence["CondensedSet"], task: "Task | None") -> list[dict[str, Any]]:
    """For each budget: class by class, real images and those of each method."""
    budgets = sorted({made.ipc for made in sets})
    if not budgets:
        return []
    c, h, w = sets[0].images.shape[1:]
    each = min(c, 3) * min(h, figures.LARGEST) * min(w, figures.LARGEST)
    place = PIXELS / each / (len(sets) + len(budgets) * bool(task))  # real images stand beside each budget
    # As many classes as leave room for two images of each, but ten in any case.
    shown = min(len(sets[0].classes), 100, max(10, int(place / 2)))
    most = max(1, min(10, int(place / shown)))
    return [make_sheet([made for made in sets if made.ipc == ipc], task, shown, most) for ipc in budgets]


def make_sheet(sets: Sequence["CondensedSet"], task: "Task | None", shown: int, most: int) -> dict[str, Any]:
    """Sets of one budget side by side, behind the real images.

    They show the first `shown` classes, and at most `most` images of each.
    """
    decoded = [(made, made.pictures(), made.decoded_labels()) for made in sets]
    counts = [int(labels.bincount().max()) for _, _, labels in decoded]
    lines = 2 if min(most, max(counts)) > 5 else 1
    classes = []
    for c, name in enumerate(sets[0].classes[:shown]):
        own = [(method(made), pictures[labels == c][:most]) for made, pictures, labels in decoded]
        if task:
            # At least four, since one real image says little of a class; and none twice, as the table repeats some.
            real = unit(task.raw(task.table[c][: min(int(task.counts[c]), most, max(4, *counts))]))
            own.insert(0, ("real", (real * 255).round().to(torch.uint8)))
        blocks = [figures.draw_block(label, name, images, lines) for label, images in own if len(images)]
        classes.append((name, blocks))
    return {"ipc": sets[0].ipc, "classes": classes, "of": len(sets[0].classes), "most": most, "counts": counts}


def project(sets: Sequence["CondensedSet"], task: "Task", subject: "CondensedSet") -> dict[str, Any]:
    """Where the images of the subject, and random ones beside it, lie among the real ones."""
    others = [made for made in sets if made.ipc == subject.ipc and made is not subject]
    shown = [subject, *sorted(others, key=lambda made: method(made) != "random")[:1]]
    classes, count = range(len(task.classes)), min(PROJECTED, max(100, int(FLOPS / task.network.flop(task.shape))))
    # Unique: a small class repeats its images. A seed of its own: pages of other runs show the same images.
    real = task.indices(classes, max(1, count // len(classes)), Rng.of(0).fold("projection")).flatten().unique()
    parts = [(task.images(real), task.train.y[real])]
    for made in shown:
        labels = made.decoded_labels()
        chosen = torch.cat([(labels == c).nonzero()[: max(1, 200 // len(classes)), 0] for c in classes])
        parts.append((made.decoded()[chosen].to(task.device), labels[chosen].to(task.device)))
    sizes = [len(x) for x, _ in parts]
    placed = reduce_to_plane(embed(task, torch.cat([x for x, _ in parts]))).split(sizes)
    real, *condensed = [(points, y.cpu()) for points, (_, y) in zip(placed, parts, strict=True)]
    panels = []
    for i, (made, points) in enumerate(zip(shown, condensed, strict=True)):
        alt = f"Real images and those of {title(made)}, in two dimensions"
        panels.append((title(made), figures.plot_scatter(f"projection{i}", real, points, task.classes, alt)))
    return {"panels": panels, "legend": task.classes if len(task.classes) <= len(figures.SERIES) else ()}


def embed(task: "Task", x: Tensor) -> Tensor:
    """Features of an unlearned network, in a mixed order: batch statistics then are those of all kinds of images."""
    rng = Rng.of(0)
    order = torch.randperm(len(x), generator=rng.fold("order").generator())
    with torch.no_grad(), rng.fold("features").scope(task.device):  # dropout takes no generator
        w = task.network.init(rng)
        parts = [task.network.features(w, x[part], train=True).float().cpu() for part in order.split(200)]
    return torch.cat(parts)[order.argsort()]


def reduce_to_plane(features: Tensor) -> Tensor:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    # Fifty components first, as scikit-learn advises: t-SNE is then faster, and noise is gone.
    reduced = PCA(min(50, *features.shape), random_state=0).fit_transform(features.numpy())
    perplexity = min(30, (len(features) - 1) / 3)  # it looks at three times as many neighbours
    return torch.from_numpy(TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(reduced))


def list_settings(made: "CondensedSet") -> list[tuple[str, str]]:
    """Every entry of the provenance, those of its parts by their path."""
    took = f"{size(made.bytes['stored'])} stored, {size(made.bytes['eight_bit'])} at 8 bit"
    facts = {
        "images": f"{len(made.labels)} stored, {len(made.decoded_labels())} decoded",
        "bytes": took,
        "factor": made.factor,
        "space": made.space,
        "mean": list(made.normalisation.mean),
        "std": list(made.normalisation.std),
    }
    return list(flatten_entries(facts | made.provenance))


def flatten_entries(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from flatten_entries(value, f"{prefix}{name} · ")
        elif name == "seconds" and isinstance(value, int | float):
            yield prefix + name, duration(float(value))
        else:
            yield prefix + name, brief(value)
