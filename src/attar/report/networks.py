"""Sets as several networks judge them: a table, and a picture of it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attar.evaluation.rows import Row, Summary, circumstances, summarise
from attar.files import write_beside
from attar.report import figures
from attar.report.names import label_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours of a light page, for a picture that stands alone.
LIGHT = {figures.INK: "#1d2127", figures.FAINT: "#e2dfd9", figures.PAPER: "#ffffff", figures.GREY: "#676d76"}
SERIES = ["#c2473a", "#2f74b5", "#2e8b66", "#8a5bb8", "#c07c12", "#1d93a8", "#b8488a", "#7a7f2a", "#5b68c7", "#8c6148"]
LIGHT |= dict(zip(figures.SERIES, SERIES, strict=True))
MARKERS = "osD^v"  # of sets that share a colour


class ByNetwork(NamedTuple):
    """A line for each set, a column for each network."""

    networks: list[str]
    lines: dict[str, list[Summary | None]]
    """By the set's name; `None` where a network did not judge it."""


def tabulate_networks(cells: Sequence[Summary]) -> ByNetwork | None:
    """`None` where a single network judged all."""
    networks = list(dict.fromkeys(cell.first.network for cell in cells))
    if len(networks) < 2:
        return None
    groups: dict[tuple, dict[str, Summary]] = {}
    for cell in cells:
        row = replace(cell.first, network="")
        groups.setdefault((*circumstances(row), row.method, row.variant), {})[cell.first.network] = cell
    firsts = [next(iter(group.values())) for group in groups.values()]
    names = count_alike(label_cells(firsts, beside=("protocol", "precision")))
    return ByNetwork(
        networks, {name: list(map(group.get, networks)) for name, group in zip(names, groups.values(), strict=True)}
    )


def count_alike(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before, such as sets of one method with other settings."""
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


def plot_networks(table: ByNetwork) -> str:
    """The picture for a page, in its colours."""
    told = "; ".join(
        f"{name}: " + ", ".join(f"{n} {c.mean:.1f}\u00a0%" for n, c in zip(table.networks, line, strict=True) if c)
        for name, line in table.lines.items()
    )
    return figures.to_svg(draw_networks(table, {}), "networks", f"Test accuracy by network: {told}")


def save_picture(rows: Sequence[Row], path: Path) -> Path | None:
    """Write the picture as a PNG and return its path; `None` where a single network judged all."""
    table = tabulate_networks(summarise(rows))
    if table is None:
        return None
    with write_beside(path) as place, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of its font: a box stands there instead
        draw_networks(table, LIGHT).savefig(place, format="png", dpi=200, facecolor=LIGHT[figures.PAPER])
    return path


def draw_networks(table: ByNetwork, paint: Mapping[str, str]) -> "Figure":
    """Networks one below the other, in each a dot for every set, with a bar of a standard deviation each way.

    `paint` replaces colours of the page by others.
    """
    from matplotlib import rc_context

    count, apart = len(table.lines), 0.8 / len(table.lines)
    style = {
        name: paint.get(value, value) if isinstance(value, str) else value for name, value in figures.STYLE.items()
    }
    with rc_context(style):
        # Inches: the axis and the legend, and a line for each dot.
        made, axes = figures.make_figure(0.7 + len(table.networks) * (0.12 + 0.16 * count) + 0.18 * count)
        for i, (name, line) in enumerate(table.lines.items()):
            shown = [(place + (i - (count - 1) / 2) * apart, cell) for place, cell in enumerate(line) if cell]
            colour, marker = paint_line(i, shown[0][1].first.method)
            axes.errorbar(
                [cell.mean for _, cell in shown],
                [place for place, _ in shown],
                xerr=[math.nan if cell.std is None else cell.std for _, cell in shown],  # one network has no bar
                color=paint.get(colour, colour),
                marker=marker,
                linestyle="none",
                capsize=2,
                label=figures.plain(name),
            )
        axes.set_yticks(range(len(table.networks)), [figures.plain(name) for name in table.networks])
        axes.set_ylim(len(table.networks) - 0.5, -0.5)  # downwards, as the table reads
        figures.set_range(axes)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("test accuracy (%)")
        made.legend(loc="outside lower left")
        return made


def paint_line(i: int, method: str) -> tuple[str, str]:
    """Colour and marker of the i-th set. What only serves to compare is grey."""
    turn, place = divmod(i, len(figures.SERIES))
    marker = MARKERS[turn % len(MARKERS)]
    if method in figures.REFERENCES:
        return figures.GREY, "x" if method == "random" else marker
    return figures.SERIES[place], marker
