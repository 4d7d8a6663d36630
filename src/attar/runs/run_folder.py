"""The folder of a run: begun, locked, left as it was found, and gone on with."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import Timeout

from attar.condensed.store import ARTEFACT, MANIFEST, REQUEST, claim, read_own, refuse_link
from attar.data.known_sets import DATASETS
from attar.data.task import Task
from attar.engine.ledger import LEDGER
from attar.evaluation.audits.measures import AUDITED, MEASURES
from attar.evaluation.rows import PICTURE, REPORT, ROWS
from attar.files import make_folder, remove, sweep, write_json
from attar.locks import hold_lock
from attar.methods import find
from attar.replacing import commit, settle
from attar.synthesis.checkpoint import CHECKPOINTS, drop_checkpoints, has_checkpoint
from attar.synthesis.journal import METRICS, read_metrics

LOCK = ".lock"
FORMAT = 1
OWN = (*ARTEFACT, REQUEST, *CHECKPOINTS, METRICS, ROWS, LEDGER, PICTURE, REPORT, MEASURES, AUDITED)
NEXT = ".next.part"  # .part, so that `claim` does not take it for somebody's file


def name_run(method: str, ipc: int | None, seed: int) -> str:
    """`m3d-ipc10-seed0`; without a number where the method finds it."""
    return "-".join([method, *([] if ipc is None else [f"ipc{ipc}"]), f"seed{seed}"])


@contextlib.contextmanager
def begin(
    folder: Path | None, request: dict[str, Any], resume: bool, anyway: bool, overwrite: bool
) -> Iterator[tuple[Path | None, float]]:
    """Where the run works, made or found as it was left, and the seconds already spent.

    What replaces an earlier result or run works in a folder of its own within, and takes its place when it is whole.
    A run that fails or is killed leaves what was there. Interrupted, or with a checkpoint, it can be resumed.
    """
    if folder is None:
        yield None, 0.0
        return
    place = find_place(folder, request, anyway) if resume else make_place(folder, overwrite)
    try:
        if not resume:
            write_json(place / REQUEST, request)
            (place / METRICS).touch()  # there also for methods without updates
        yield place, max((entry["seconds"] for entry in read_metrics(place)), default=0.0)
    except (ValueError, OSError):  # Ctrl-C is neither: what it interrupts can be resumed
        if not resume and not has_checkpoint(place):
            for path in [place / REQUEST, place / METRICS] if place == folder else [place]:
                remove(path)
        raise
    if place != folder:
        commit(folder, place, OWN)
    drop_checkpoints(folder)  # last: until the set is in its place, the run can be resumed


def find_place(folder: Path, request: dict[str, Any], anyway: bool) -> Path:
    """Where an unfinished run works. Raises `ValueError` where there is none, or it is another."""
    place = folder / NEXT if (folder / NEXT / REQUEST).exists() else folder
    if not (place / REQUEST).exists():
        raise ValueError(f"nothing to resume in {folder}: no {REQUEST}")
    check_same(place, request, anyway)
    sweep(place)
    return place


def holds_result(folder: Path, request: dict[str, Any]) -> bool:
    """Whether the folder holds what is asked for, and no later run that was asked for the same."""
    settle(folder)
    if not (folder / MANIFEST).exists():
        return False
    if (folder / NEXT / REQUEST).exists():
        with contextlib.suppress(ValueError):
            check_same(folder / NEXT, request, anyway=True)
            return False
    check_same(folder, request, anyway=True)  # nothing will run, so the engine does not matter
    return True


def make_place(folder: Path, overwrite: bool) -> Path:
    """The folder itself where nothing is in it yet. Raises `ValueError` where something is, and not to be replaced."""
    if (folder / MANIFEST).exists() and not overwrite:
        raise ValueError(f"{folder} already holds a result: --overwrite replaces it, another --out keeps it")
    if (folder / REQUEST).exists() and not overwrite:
        raise ValueError(f"{folder} holds an unfinished run: --resume goes on with it, --overwrite starts anew")
    remove(folder / NEXT)  # an earlier try
    taken = any((folder / name).exists() for name in OWN)
    if taken:
        refuse_link(folder)
    place = folder / NEXT if taken else folder
    place.mkdir(exist_ok=True)
    return place


@contextlib.contextmanager
def lock_folder(folder: Path | None) -> Iterator[None]:
    """No other process condenses into the folder meanwhile, and what killed writes left is removed.

    A folder that is made here and stays empty is removed again. Raises `ValueError` where another process is at work in
    the folder, or where it holds files of others.
    """
    if folder is None:
        yield
        return
    claim(folder)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(make_folder(folder))
            # The other process may take hours: say so instead of waiting.
            held.enter_context(hold_lock(folder / LOCK, timeout=0.0))
        except Timeout:
            told = f"another process is at work in {folder}: wait for it, or name another folder with --out"
            raise ValueError(told) from None
        except OSError as error:  # what `claim` cannot know
            raise ValueError(f"nothing can be written to {folder}: {error.strerror}") from None
        sweep(folder)
        yield


def check_same(folder: Path, request: dict[str, Any], anyway: bool) -> None:
    """Raises `ValueError` where the folder's run asked for something else, or ran on another engine."""
    earlier = read_own(folder / REQUEST)
    if earlier["format"] != FORMAT:
        raise ValueError(f"{folder / REQUEST} has format {earlier['format']}; this attar reads format {FORMAT}")
    if not all(isinstance(earlier.get(part), dict) for part in ("engine", "hyperparameters")):
        raise ValueError(f"{folder / REQUEST} was not written by attar")
    request = json.loads(json.dumps(request))  # with lists for tuples, as in the file
    earlier.setdefault("flip", request["flip"])  # an older run's, which `flip_as_begun` has taken over
    check_retired(folder, earlier, request)
    for key, was, now in list_differences(earlier | earlier["hyperparameters"], request | request["hyperparameters"]):
        if key == "fingerprint":  # two hashes would tell nobody anything
            raise ValueError(f"{folder} holds a run on other images: the data has changed since it began")
        if not isinstance(now, dict):  # the engine, which is compared below, and all hyper-parameters together
            raise ValueError(f"{folder} holds a run with {key} = {was}, not {now}")
    differences = list_differences(earlier["engine"], request["engine"])
    if differences and not anyway:
        changed = ", ".join(f"{key} {was} → {now}" for key, was, now in differences)
        told = f"the engine changed since the run in {folder} began ({changed})"
        raise OtherEngine(f"{told}: its bits will differ; --anyway goes on")


def flip_as_begun(task: Task, folder: Path | None, flip: bool | None) -> Task:
    """The task as the folder's run began with it.

    Older versions mirrored colour images of own data, and did not say. Raises `ValueError` where another `flip` is
    asked for.
    """
    if folder is None or not (folder / REQUEST).exists():
        return task
    earlier = read_own(folder / REQUEST)
    older = "flip" not in earlier and task.name not in DATASETS
    if not older:
        return task
    begun = task.shape[0] == 3
    if flip not in (None, begun):
        raise ValueError(f"{folder} holds a run with flip = {begun}, not {flip}")
    return dataclasses.replace(task, flip=begun)


def updates_as_begun(folder: Path | None) -> int | None:
    """How many updates the folder's run was to make; `None` where nothing has begun there."""
    for place in () if folder is None else (folder / NEXT, folder):
        if (place / REQUEST).exists():
            return read_own(place / REQUEST)["hyperparameters"].get("updates")
    return None


def check_retired(folder: Path, earlier: dict[str, Any], request: dict[str, Any]) -> None:
    """Raises `ValueError` where the folder's run set a hyper-parameter that its method no longer has."""
    retired = getattr(find(request["method"]), "retired", {})
    for key, value in earlier["hyperparameters"].items():
        # Another method has other fields: that it is another is said by `check_same`.
        gone = key not in request["hyperparameters"] and earlier.get("method") == request["method"]
        # At its retired value a field changes nothing: the method does the same without it.
        if gone and (key not in retired or retired[key].value != value):
            instead = f": {retired[key].instead}" if key in retired else ""
            told = f"{folder} holds a run with {key} = {value}, which {request['method']} no longer has"
            raise ValueError(told + instead)


def list_differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values."""
    return [(key, earlier.get(key), value) for key, value in now.items() if earlier.get(key) != value]


class OtherEngine(ValueError):
    """Going on would work, but not to the same bits."""
