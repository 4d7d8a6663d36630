"""Folders of runs and comparisons: how they are named, resumed, found again and reported on."""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from attar.cli.terminal import say
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, load
from attar.data.known_sets import DATASETS
from attar.data.task import Task
from attar.evaluation.audits.measures import MEASURES, read_measures
from attar.evaluation.judged_on import check_fits
from attar.evaluation.rows import PICTURE, ROWS, read_rows
from attar.replacing import settle
from attar.report.networks import save_picture
from attar.report.page import write_report
from attar.synthesis.journal import read_metrics


def shorten_data(data: str) -> str:
    """`digits` for itself, `mine` for `npz:where/mine.npz`, the folder's name for `npy:.`."""
    whole = Path(data.rpartition(":")[2]).resolve()
    return (whole.name if whole.is_dir() else whole.stem) or "data"  # a folder's name may hold a dot; / has none


def choose_folder(name: str, resume: bool) -> Path:
    """`runs/NAME`, or `runs/NAME-2` and on where that is taken; the latest of them to resume."""
    candidates = [Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000)]
    first_free = next(i for i, folder in enumerate(candidates) if not folder.exists())
    return candidates[max(first_free - 1, 0) if resume else first_free]


@contextlib.contextmanager
def say_how_to_resume(folder: Path | None, kept: str = "") -> Iterator[None]:
    """After Ctrl-C, the line that resumes, and what was `kept`.

    Everything up to the last checkpoint is saved by then. `folder` is where the same line would find another one.
    """
    try:
        yield
    except KeyboardInterrupt:
        # Overwriting again would throw away what was saved.
        line = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
        if "condense" in line:  # a comparison resumes unasked
            line += ["--resume"]
        if folder and not any(
            word.partition("=")[0] == "--out" for word in line
        ):  # typed again, another folder would be chosen
            line += ["--out", str(folder)]
        say(f"\ninterrupted{kept}; go on with:\n  attar {shlex.join(line)}")
        raise SystemExit(130) from None  # what shells expect after Ctrl-C: 128 + SIGINT


def find_sets(folders: Sequence[Path]) -> list[Path]:
    """The folders themselves, or for a comparison those within.

    Raises `ValueError` where there is none, or one holds nothing finished.
    """
    if not folders:
        raise ValueError("name the folder of at least one run")
    found = []
    for folder in folders:
        settle(folder)
        whole = (folder / MANIFEST).exists()
        inside = [folder] if whole else sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
        if not inside:
            raise ValueError(f"{folder} holds no condensed set (no {MANIFEST})")
        found += inside
    return found


def agree_on_data(sets: Sequence[CondensedSet]) -> str:
    """The known data set that all of them were made from. Raises `ValueError` where there is not one such."""
    names = sorted({made.provenance.get("data", "unnamed data") for made in sets})
    if not names:
        raise ValueError("name the folder of at least one run")
    if len(names) > 1:
        raise ValueError(f"the sets come from different data ({', '.join(names)}): say which with --data")
    if names[0] not in DATASETS:
        raise ValueError(
            f"the set was condensed from {names[0]}, which is no known data set: say where it lies with --data"
        )
    return names[0]


def draw_by_network(folders: Sequence[Path]) -> list[Path]:
    """The pictures of the rows in each folder that several networks judged, written beside them."""
    drawn = (save_picture(read_rows(folder / ROWS), folder / PICTURE) for folder in dict.fromkeys(folders))
    return [path for path in drawn if path]


def report_on(folders: Sequence[Path], task: Task, out: Path) -> Path:
    """The page about the sets of these folders, with the rows and losses that lie there; returns `out`.

    Raises `ValueError` where a folder holds nothing finished, something damaged, or a set that is not of this data.
    """
    found = find_sets(folders)
    sets = [load(folder) for folder in found]
    for made in sets:
        check_fits(made, task)
    # A comparison keeps its rows in its own folder, a run in its own; a run that is named itself is in both lists.
    places = dict.fromkeys([*folders, *found])
    rows = [row for folder in places for row in read_rows(folder / ROWS)]
    measures = list(dict.fromkeys(one for folder in places for one in read_measures(folder / MEASURES)))
    unique = len({folder.name for folder in found}) == len(found)  # runs of two comparisons may have the same name
    losses = {
        folder.name if unique else str(folder): [(entry["update"], entry["loss"]) for entry in read_metrics(folder)]
        for folder in found
    }
    return write_report(out, sets, rows, task, losses, measures)
