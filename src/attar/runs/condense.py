"""From data to a condensed set on disk: resolve, run, record."""

import contextlib
import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, REQUEST, claim, load, save
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.compiling import Compile
from attar.engine.device import use_device
from attar.engine.precision import Precision, choose_device, use_precision
from attar.engine.run import Progress, Run, silent
from attar.evaluation.rows import REPORT, ROWS
from attar.files import read_json, sweep, write_json
from attar.methods import find
from attar.rng import Rng
from attar.runs.default_method import choose
from attar.runs.plan import Plan, forecast
from attar.runs.recipe import Resolved, check_data, resolve
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import METRICS, read_metrics

LOCK = ".lock"
FORMAT = 1
OWN = (MANIFEST, REQUEST, CHECKPOINT, METRICS, ROWS, REPORT)  # manifest first: what is half gone must not look whole
EARLIER = ".earlier.part"


def condense(
    data: Any,
    method: str | None = None,
    ipc: int = 10,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    recipe: str | None = None,
    published: bool = False,
    network: str | None = None,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    resume: bool = False,
    anyway: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> CondensedSet:
    """Condense `data` to `ipc` images per class.

    `data` is what `attar.load_data` takes: a name, `npz:PATH`, `npy:FOLDER`, arrays, a `Dataset`, or a `Task`. Without
    a `method`, the best that is known for such data and so many images is taken, with the recipe of the nearest known
    data. It is logged, with the reason. `settings` are hyper-parameters of the method, on top of the recipe for the
    data, or for the known set named by `recipe`. `published` leaves out what the recipe does differently from the
    paper, mostly to be faster.

    With `out`, the result is saved there, and an interrupted run can go on (`resume`); `anyway` resumes also where
    another engine will give other bits. Raises `ValueError` for input that cannot be condensed as asked.
    """
    folder = None if out is None else Path(out)
    run = Run(Rng.of(seed), folder, *choose_device(device, precision), compile, progress=progress)
    task = load_data(data, network=network).to(run.device)
    method, resolved = decide(task, method, ipc, recipe, settings, published)
    request = describe(task, method, ipc, seed, resolved, run)
    if run.folder is not None and resume and (run.folder / MANIFEST).exists():
        check_same(run.folder, request, anyway=True)
        return load(run.folder)
    with lock_folder(run.folder), begin(run.folder, request, resume, anyway, overwrite) as before:
        start = time.perf_counter()
        with use_precision(run.precision), use_device(run.device):
            made = resolved.method(task, ipc, run)
        seconds = before + time.perf_counter() - start + sum(run.ledger.cached_seconds)
        made = sign(made, task, request, resolved, run, seconds)
        if run.folder is not None:
            save(made, run.folder)
            (run.folder / CHECKPOINT).unlink(missing_ok=True)
    return made


def plan(
    data: Any,
    method: str | None = None,
    ipc: int = 10,
    *,
    seed: int = 0,
    recipe: str | None = None,
    published: bool = False,
    network: str | None = None,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    **settings: Any,
) -> Plan:
    """What `condense` with the same arguments will cost, from about two seconds of doing it; nothing is kept.

    Raises `ValueError` for input that cannot be condensed as asked.
    """
    run = Run(Rng.of(seed), None, *choose_device(device, precision), compile)
    task = load_data(data, network=network).to(run.device)
    _, resolved = decide(task, method, ipc, recipe, settings, published)
    with use_precision(run.precision), use_device(run.device):
        return forecast(resolved.method, task, ipc, run)


def decide(
    task: Task, method: str | None, ipc: int, recipe: str | None, settings: dict[str, Any], published: bool
) -> tuple[str, Resolved]:
    """The method's name, the best known where none is given, and the method with its values.

    What the recipe expects of them holds for its own data and Attar's default network.
    """
    if method is None:
        method, recipe = choose(task, ipc, recipe)
    source = check_data(recipe) if recipe else task.name
    resolved = resolve(method, source, ipc, settings, published)
    usual = source == task.name and task.network.name == "ConvNet"
    return method, resolved if usual else dataclasses.replace(resolved, expect={})


def describe(task: Task, method: str, ipc: int, seed: int, resolved: Resolved, run: Run) -> dict[str, Any]:
    """What a run is asked to do, and on what engine: the same request on the same engine gives the same bits."""
    return {
        "format": FORMAT,
        "method": method,
        "data": task.name,
        "ipc": ipc,
        "seed": seed,
        "network": task.network.name,
        "hyperparameters": resolved.hyperparameters,
        "fingerprint": task.fingerprint,
        "engine": {
            "device": run.device.type,
            "precision": run.precision,
            "compile": run.compile,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    }


def sign(
    made: CondensedSet, task: Task, request: dict[str, Any], resolved: Resolved, run: Run, seconds: float
) -> CondensedSet:
    """The set with its provenance: the request, where its values come from, what ran, for how long."""
    begun = read_json(run.folder / REQUEST)["engine"] if run.folder else request["engine"]
    provenance = {
        **{key: value for key, value in request.items() if key != "format"},
        "engine": request["engine"] | {"ran": sorted(run.ledger.flop)},
        **({"begun_on": begun} if begun != request["engine"] else {}),
        "recipe": list(resolved.sources),
        "expect": resolved.expect,
        "split": task.split,
        "seconds": round(seconds, 2),
        "cached_seconds": round(sum(run.ledger.cached_seconds), 2),
        "versions": {"attar": version("attar"), "python": platform.python_version(), "torch": torch.__version__},
        **made.provenance,
    }
    return dataclasses.replace(made, provenance=provenance)


@contextlib.contextmanager
def begin(folder: Path | None, request: dict[str, Any], resume: bool, anyway: bool, overwrite: bool) -> Iterator[float]:
    """The run's folder, made or found as it was left; gives the seconds already spent.

    Never loses a result unasked; nor to a run that comes to nothing before its first checkpoint: then all is as it was.
    """
    if folder is None:
        yield 0.0
        return
    if resume:
        if not (folder / REQUEST).exists():
            raise ValueError(f"nothing to resume in {folder}: no {REQUEST}")
        check_same(folder, request, anyway)
        yield max((entry["seconds"] for entry in read_metrics(folder)), default=0.0)
        return
    if (folder / MANIFEST).exists() and not overwrite:
        raise ValueError(f"{folder} already holds a result: --overwrite replaces it, another --out keeps it")
    if (folder / REQUEST).exists() and not overwrite:
        raise ValueError(f"{folder} holds an unfinished run: --resume goes on with it, --overwrite starts anew")
    earlier = folder / EARLIER
    move_files(folder, earlier)
    try:
        write_json(folder / REQUEST, request)
        (folder / METRICS).touch()
        yield 0.0
    except (ValueError, OSError):
        if not (folder / CHECKPOINT).exists():
            for name in (REQUEST, METRICS):
                (folder / name).unlink(missing_ok=True)
            move_files(earlier, folder)
        raise
    finally:
        shutil.rmtree(earlier, ignore_errors=True)


def move_files(source: Path, target: Path) -> None:
    """What a run leaves beside its images."""
    target.mkdir(exist_ok=True)
    for name in OWN:
        if (source / name).exists():
            (source / name).replace(target / name)


@contextlib.contextmanager
def lock_folder(folder: Path | None) -> Iterator[None]:
    """No other process condenses into the folder meanwhile, and what killed writes left is removed.

    A folder that is made here and stays empty goes again. Raises `ValueError` where another process is at work in the
    folder, or it is none for a run.
    """
    if folder is None:
        yield
        return
    claim(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        told = f"another process is at work in {folder}: wait for it, or name another folder with --out"
        raise ValueError(told) from None
    try:
        sweep(folder)
        shutil.rmtree(folder / EARLIER, ignore_errors=True)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if made and not any(folder.iterdir()):
            folder.rmdir()


def check_same(folder: Path, request: dict[str, Any], anyway: bool) -> None:
    """Raises `ValueError` where the folder's run asked for something else, or ran on another engine."""
    earlier = read_json(folder / REQUEST)
    if isinstance(earlier, dict) and earlier.get("format") != FORMAT:
        raise ValueError(f"{folder / REQUEST} has format {earlier.get('format')}; this attar reads format {FORMAT}")
    parts = ("engine", "hyperparameters")
    if not isinstance(earlier, dict) or not all(isinstance(earlier.get(part), dict) for part in parts):
        raise ValueError(f"{folder / REQUEST} was not written by attar")
    request = json.loads(json.dumps(request))
    check_retired(folder, earlier, request)
    for key, was, now in list_differences(earlier | earlier["hyperparameters"], request | request["hyperparameters"]):
        if not isinstance(now, dict):
            raise ValueError(f"{folder} holds a run with {key} = {was}, not {now}")
    differences = list_differences(earlier["engine"], request["engine"])
    if differences and not anyway:
        changed = ", ".join(f"{key} {was} → {now}" for key, was, now in differences)
        told = f"the engine changed since the run in {folder} began ({changed})"
        raise OtherEngine(f"{told}: its bits will differ; --anyway goes on")


def check_retired(folder: Path, earlier: dict[str, Any], request: dict[str, Any]) -> None:
    """Raises `ValueError` where the folder's run set a hyper-parameter that its method no longer has."""
    retired = getattr(find(request["method"]), "retired", {})
    for key, value in earlier["hyperparameters"].items():
        gone = key not in request["hyperparameters"] and earlier.get("method") == request["method"]
        if gone and (key not in retired or retired[key].value != value):
            instead = f": {retired[key].instead}" if key in retired else ""
            told = f"{folder} holds a run with {key} = {value}, which {request['method']} no longer has"
            raise ValueError(told + instead)


def list_differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values."""
    return [(key, earlier.get(key), value) for key, value in now.items() if earlier.get(key) != value]


class OtherEngine(ValueError):
    """Going on would work, but not to the same bits."""
