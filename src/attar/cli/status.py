"""The command `attar status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from attar.arguments import resolve_home
from attar.wording import duration, make_visible

if TYPE_CHECKING:
    from attar.engine.ledger import Entry


@dataclass(frozen=True)
class Status:
    """Say what a folder holds: what is done, being worked on, left or failed. Nothing in it is changed."""

    folder: Positional[Path]
    """Folder of a run, of a comparison, or of pieces of work such as networks that are trained first."""

    def __call__(self) -> None:
        folder = resolve_home("folder", self.folder)
        inside = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
        told = [f"{place}: {line}" for place in (folder, *inside) for line in tell(place)]
        if not told:
            raise ValueError(f"{folder} holds no run, no comparison and no pieces of work")
        print("\n".join(map(make_visible, told)))


def tell(place: Path) -> Iterator[str]:
    """Lines about the run, the rows and the pieces of work in a folder; none where it has none of them."""
    yield from tell_run(place)
    yield from tell_rows(place)
    yield from tell_pieces(place)


def tell_run(place: Path) -> Iterator[str]:
    """What a run has made here, and how far an unfinished one has come."""
    from attar.condensed.store import MANIFEST, REQUEST, read_own
    from attar.locks import is_held
    from attar.replacing import MOVING, READY
    from attar.runs.run_folder import LOCK, NEXT

    for at in (place / READY, place / MOVING):
        if at.is_dir():
            yield "done, and put in its place by the next command that reads it"
    if (place / MANIFEST).exists():
        made = read_own(place / MANIFEST)
        yield f"done: {name(made)}" + (f", in {duration(made['seconds'])}" if is_number(made.get("seconds")) else "")
    begun = [at for at in (place, place / NEXT) if (at / REQUEST).exists() and not (at / MANIFEST).exists()]
    for at in begun:
        state = "being worked on" if is_held(place / LOCK) else "interrupted, --resume goes on with it"
        request = read_own(at / REQUEST)
        yield f"{state}: {name(request)}{tell_updates(at, request)}"


def name(about: dict[str, Any]) -> str:
    """What a manifest or a request is about."""
    budget = "" if about.get("ipc") is None else f", {about['ipc']} per class"
    return f"{about.get('method', 'a set')} on {about.get('data', 'unnamed data')}{budget}"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1e12


def tell_updates(at: Path, request: dict[str, Any]) -> str:
    """How many updates have been made, in how long, and what is left; empty for a method without."""
    from attar.synthesis.journal import read_metrics

    settings, entries = request.get("hyperparameters"), read_metrics(at)
    total = settings.get("updates") if isinstance(settings, dict) else None
    if not entries or not is_number(total):
        return ""
    done, seconds = entries[-1]["update"] + 1, entries[-1]["seconds"]
    left = max(0.0, seconds * (total / done - 1))
    return f"; {done} of {total} updates in {duration(seconds)}, about {duration(left)} left"


def tell_rows(place: Path) -> Iterator[str]:
    """How many networks have judged."""
    from attar.evaluation.rows import ROWS, read_rows

    if rows := read_rows(place / ROWS):
        seconds = duration(sum(row.train_seconds for row in rows))
        yield f"done: {len(rows)} {'network' if len(rows) == 1 else 'networks'} judged, trained in {seconds} together"


def tell_pieces(place: Path) -> Iterator[str]:
    """How many are done and how many wait, and each that is being worked on or has failed."""
    from attar.engine.ledger import count_steps, is_worked_on, read_ledger

    ledger = read_ledger(place)
    running = {key: entry for key, entry in ledger.items() if entry.state != "done" and is_worked_on(place, key)}
    done = [entry for entry in ledger.values() if entry.state == "done"]
    failed = [entry for key, entry in ledger.items() if entry.state == "failed" and key not in running]
    waiting = [entry for key, entry in ledger.items() if entry.state == "planned" and key not in running]
    if done:
        yield f"done: {len(done)} of {len(ledger)} pieces in {duration(sum(entry.seconds or 0.0 for entry in done))}"
    for key, entry in running.items():
        yield f"being worked on: {call(entry)}, {count_steps(place, key)} of {entry.steps} steps"
    for entry in failed:
        yield f"failed: {call(entry)}: {entry.error}"
    if waiting:
        yield f"left: {len(waiting)} of {len(ledger)} pieces{tell_cost(waiting, done)}"


def call(entry: "Entry") -> str:
    return f"{entry.name}, seed {entry.seed}"


def tell_cost(waiting: Sequence["Entry"], done: Sequence["Entry"]) -> str:
    """The operations of what waits, and its time at the pace so far; empty where that is not known."""
    cost = sum(entry.cost for entry in waiting)
    if not cost:
        return ""
    known = [entry for entry in done if entry.cost and entry.seconds]
    rate = sum(entry.seconds or 0.0 for entry in known) / max(1, sum(entry.cost for entry in known))
    return f", {cost / 1e12:.3g} TFLOP" + (f", about {duration(cost * rate)} one after the other" if known else "")
