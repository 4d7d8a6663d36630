"""Charts of a page: SVG that takes its colours and its type from around it."""

import html
import itertools
import re
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from attar.condensed.pictures import to_picture
from attar.evaluation.rows import Summary
from attar.wording import make_visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import OffsetImage

# Colours that no chart would pick: each is replaced by a variable of the page, which has a light and a dark value.
INK, FAINT, PAPER, GREY = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0100{i:02x}" for i in range(16, 26))
VARIABLES = {INK: "currentColor", FAINT: "var(--line)", PAPER: "var(--card)", GREY: "var(--muted)"}
VARIABLES |= {colour: f"var(--s{i})" for i, colour in enumerate(SERIES)}
REFERENCES = ("random", "whole set")  # what learned sets are held against
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
WIDTH = 4.6  # inches: drawn at this size the type stays readable on a phone and is not coarse on a desk
THUMBNAIL = 22  # points: the longer side of a picture among points
NARROWEST = 6.0  # points of accuracy that an axis spans: less would magnify noise, and one row has no width
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: in the page's font, and found by a search
    "text.parse_math": False,  # names may hold a $
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def make_figure(height: float) -> tuple["Figure", Any]:
    # Not pyplot, which keeps every figure for the whole process and may look for a screen.
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH, height), layout="constrained")
    return made, made.subplots()


def to_svg(made: "Figure", name: str, alt: str) -> str:
    """The figure's markup, for a page: no prologue, no foreign address, its own ids, the page's colours and type."""
    out = StringIO()
    with warnings.catch_warnings():
        # It measures letters in a font that may lack them. They stay letters, which a browser shows in another one.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        made.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    # Figures of one page would else have ids in common, and take each other's clips and markers.
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font-size: \1px", text)  # the family is the page's
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None
    # Without a width and a height of its own: the page sets them.
    return (
        f'<svg viewBox="{box[1]}" role="img" aria-label="{html.escape(make_visible(alt))}">'
        + text[text.index(">") + 1 :]
    )


def choose_colours(methods: Iterable[str]) -> dict[str, str]:
    """One for each method, the same in all charts of a page; what only serves to compare is grey."""
    series = itertools.cycle(SERIES)
    return {method: GREY if method in REFERENCES else next(series) for method in dict.fromkeys(methods)}


def plot_accuracies(summaries: Sequence[Summary], names: Sequence[str], palette: Mapping[str, str]) -> str:
    """A line for each set.

    Every network is a small dot, their mean a large one, with a bar of a standard deviation each way. One network has
    no bar.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        made, axes = make_figure(0.75 + 0.3 * len(summaries))  # inches: the axis below, and a line for each set
        for i, summary in enumerate(summaries):
            method, mean = summary.first.method, summary.mean
            colour = palette[method]
            axes.scatter(
                [row.accuracy for row in summary.rows],
                [i] * len(summary.rows),
                s=14,
                color=colour,
                alpha=0.4,
                linewidths=0,
            )
            if summary.std is not None:
                axes.errorbar(mean, i, xerr=summary.std, color=colour, capsize=3, linewidth=1.6)
            axes.scatter(
                [mean],
                [i],
                s=46,
                color=PAPER if method == "random" else colour,  # hollow, as the whole set is grey too
                edgecolors=colour,
                linewidths=1.6,
                zorder=3,
            )
            axes.annotate(f"{mean:.1f}", (mean, i), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        axes.set_yticks(range(len(names)), [plain(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.7)  # downwards, with room for the number above the first dot
        set_range(axes)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("test accuracy (%)")
        told = ", ".join(f"{name} {summary.mean:.1f}\u00a0%" for name, summary in zip(names, summaries, strict=True))
        return to_svg(made, "accuracies", f"Test accuracy of each set: {told}")


def set_range(axes: Any) -> None:
    """Of accuracies: around those that are drawn, with ticks from 0 to 100 only."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.dataLim.intervalx
    wider = max(0.0, NARROWEST - (high - low)) / 2
    low, high = max(0.0, low - wider), min(100.0, high + wider)
    axes.set_xticks([tick for tick in MaxNLocator(6).tick_values(low, high) if 0 <= tick <= 100])
    beyond = 0.08 * (high - low)  # so that dots at the ends are whole
    axes.set_xlim(low - beyond, high + beyond)


def plot_losses(losses: Mapping[str, Sequence[tuple[int, float]]], palette: Mapping[str, str]) -> str:
    """The raw loss faintly and its running mean; on a logarithmic scale where no value forbids it.

    Runs of one method share its colour and differ in their dashes.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    with rc_context(STYLE):
        made, axes = make_figure(2.9)
        for i, (label, curve) in enumerate(losses.items()):
            steps, values = [step for step, _ in curve], [value for _, value in curve]
            smooth, colour = running_mean(values, max(1, len(values) // 40)), palette[label]  # a twentieth of the run
            before = [palette[other] for other in list(losses)[:i]].count(colour)
            every = max(1, len(steps) // 400)  # more points than that only make the page heavier
            axes.plot(steps[::every], values[::every], color=colour, alpha=0.25, linewidth=0.7)
            dashes = DASHES[before % len(DASHES)]
            axes.plot(
                steps[::every], smooth[::every], color=colour, linewidth=1.7, linestyle=dashes, label=plain(label)
            )
        if all(value > 0 for curve in losses.values() for _, value in curve):
            axes.set_yscale("log")
            # Losses often span less than a decade, in which the usual ticks leave one label or none.
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="y", which="minor", length=0)
        axes.set_xlabel("update")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")  # losses fall, so that it is mostly free
        return to_svg(made, "losses", "Loss by update of " + ", ".join(losses))


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Over `reach` values on either side."""
    return [statistics.fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def plot_scatter(
    name: str,
    real: tuple[Float[Tensor, "n 2"], Int[Tensor, " n"]],
    condensed: tuple[Float[Tensor, "m 2"], Int[Tensor, " m"]],
    classes: Sequence[str],
    alt: str,
    pictures: Iterable[UInt8[Tensor, "c h w"]] = (),
) -> str:
    """Points of real images, faintly, and of condensed ones, outlined; each with labels.

    They are coloured by class where there are few. `pictures` stand in the places of the first condensed images.
    """
    from matplotlib import rc_context
    from matplotlib.offsetbox import AnnotationBbox

    few = len(classes) <= len(SERIES)
    with rc_context(STYLE):
        made, axes = make_figure(3.7)
        for c in range(len(classes)):
            colour = SERIES[c] if few else SERIES[0]
            behind, before = (points[labels == c] for points, labels in (real, condensed))
            axes.scatter(*behind.T, s=8, color=colour if few else GREY, alpha=0.38, linewidths=0)
            axes.scatter(*before.T, s=26, color=colour, edgecolors=INK, linewidths=0.7, zorder=3)
        for picture, place in zip(pictures, condensed[0].tolist(), strict=False):
            edge = {"edgecolor": SERIES[0], "facecolor": PAPER, "linewidth": 1.2}
            axes.add_artist(AnnotationBbox(make_thumbnail(picture), place, pad=0.1, bboxprops=edge))
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return to_svg(made, name, alt)


def make_thumbnail(picture: UInt8[Tensor, "c h w"]) -> "OffsetImage":
    from matplotlib.offsetbox import OffsetImage

    zoom = THUMBNAIL / max(picture.shape[1:])
    # Not resampled: the browser shows its own pixels.
    return OffsetImage(np.asarray(to_picture(picture).convert("RGB")), zoom=zoom, interpolation="none")


def plain(text: str, most: int = 34) -> str:
    """Short, and without what makes matplotlib leave an entry out of a legend."""
    text = make_visible(text)  # control characters are not allowed in SVG
    return (text if len(text) <= most else text[: most - 1] + "…").lstrip("_")
