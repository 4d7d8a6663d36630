"""From data to a condensed set on disk: resolve, run, record."""

import dataclasses
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import REQUEST, claim, load, save
from attar.data.load import Split, load_data
from attar.data.task import Task
from attar.engine.ambient import plain_torch
from attar.engine.compiling import Compile
from attar.engine.device import use_device
from attar.engine.precision import Precision, choose_device_and_precision, use_precision
from attar.engine.run import Progress, Run, silent
from attar.files import read_json
from attar.methods import find
from attar.rng import Rng
from attar.runs.default_method import choose
from attar.runs.plan import Plan, forecast
from attar.runs.recipe import Resolved, check_data, check_settings, fit_tiles, resolve
from attar.runs.run_folder import FORMAT, begin, flip_as_begun, holds_result, lock_folder


@checked
@plain_torch()
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
    flip: bool | None = None,
    split: Split | None = None,
    name: str | None = None,
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
    a `method`, the best known for such data and so many images is taken, with the recipe of the nearest known data. The
    choice is logged, with the reason. `settings` are hyper-parameters of the method, on top of the recipe for the data,
    or for the known set named by `recipe`. `published` leaves out what the recipe does differently from the paper,
    mostly to be faster. `flip`, `split` and `name` are those of `attar.load_data`: whether mirrored images keep their
    class, what judges, and what own data is called.

    With `out`, the result is saved there, and `resume` continues an interrupted run. `anyway` resumes also where
    another engine will give other bits. Raises `ValueError` for input that cannot be condensed as asked.
    """
    folder = None if out is None else Path(out)
    if method is not None:
        check_settings(find(method), settings)  # now: reading the data may take long
    if folder is not None:
        claim(folder)
    run = Run(Rng.of(seed), folder, *choose_device_and_precision(device, precision), compile, progress=progress)
    task = load_data(data, network=network, flip=flip, split=split, name=name).to(run.device)
    if resume:
        task = flip_as_begun(task, folder, flip)
    method, resolved = decide(task, method, ipc, recipe, settings, published)
    request = describe(task, method, ipc, seed, resolved, run)
    if folder is not None and resume and holds_result(folder, request):
        return load(folder)
    # Locked first: `begin` moves files that another process may be writing.
    with lock_folder(folder), begin(folder, request, resume, anyway, overwrite) as (place, before):
        run = dataclasses.replace(run, folder=place)
        start = time.perf_counter()
        with use_precision(run.precision), use_device(run.device):
            made = resolved.method(task, ipc, run)
        seconds = before + time.perf_counter() - start + sum(run.ledger.cached_seconds)
        made = sign(made, task, request, resolved, run, seconds)
        if run.folder is not None:
            save(made, run.folder, overwrite=True)  # what a killed run saved and did not put in its place
    return made


@checked
@plain_torch()
def plan(
    data: Any,
    method: str | None = None,
    ipc: int = 10,
    *,
    seed: int = 0,
    recipe: str | None = None,
    published: bool = False,
    network: str | None = None,
    flip: bool | None = None,
    split: Split | None = None,
    name: str | None = None,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    **settings: Any,
) -> Plan:
    """What `condense` with the same arguments will cost, from about two seconds of doing it; nothing is kept.

    Raises `ValueError` for input that cannot be condensed as asked.
    """
    if method is not None:
        check_settings(find(method), settings)
    run = Run(Rng.of(seed), None, *choose_device_and_precision(device, precision), compile)
    task = load_data(data, network=network, flip=flip, split=split, name=name).to(run.device)
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
    if not published and "factor" not in settings:
        resolved = fit_tiles(resolved, task, ipc)
    usual = source == task.name and task.network.name == "ConvNet"  # what the bands were measured with
    return method, resolved if usual else dataclasses.replace(resolved, expect={})


def describe(task: Task, method: str, ipc: int, seed: int, resolved: Resolved, run: Run) -> dict[str, Any]:
    """What a run is asked to do, and on what engine: the same request on the same engine gives the same bits."""
    return {
        "format": FORMAT,
        "method": method,
        "data": task.name,
        "flip": task.flip,
        "ipc": ipc,
        "seed": seed,
        "network": task.network.name,
        "hyperparameters": resolved.hyperparameters,
        "fingerprint": task.fingerprint,
        "engine": {
            "device": run.device.type,
            "precision": run.precision,
            "compile": run.compile,
            "threads": torch.get_num_threads(),  # sums are split among them, which decides the last bits
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
        **({"begun_on": begun} if begun != request["engine"] else {}),  # resumed with `anyway`
        "recipe": list(resolved.sources),
        "expect": resolved.expect,
        "split": task.split,
        "seconds": round(seconds, 2),
        "cached_seconds": round(sum(run.ledger.cached_seconds), 2),
        "versions": {"attar": version("attar"), "python": platform.python_version(), "torch": torch.__version__},
        **made.provenance,
    }
    return dataclasses.replace(made, provenance=provenance)
