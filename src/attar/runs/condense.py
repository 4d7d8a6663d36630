"""From data to a condensed set on disk: resolve, run, record."""

import dataclasses
import logging
import math
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

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
from attar.methods import Method, find
from attar.rng import Rng
from attar.runs.default_method import choose, choose_recipe
from attar.runs.plan import Plan, fit_updates, forecast
from attar.runs.recipe import Resolved, check_data, check_settings, fit_tiles, resolve, settle_budget, suit
from attar.runs.run_folder import FORMAT, begin, flip_as_begun, holds_result, lock_folder, updates_as_begun
from attar.wording import duration


@checked
@plain_torch()
def condense(
    data: Any,
    method: str | None = None,
    ipc: int | None = None,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    recipe: str | None = None,
    published: bool = False,
    minutes: float | None = None,
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
    """Condense `data` to `ipc` images per class: 10 by default, and none to be given where a method finds the number.

    `data` is what `attar.load_data` takes: a name, `folder:PATH`, `npz:PATH`, arrays, a `Dataset`, or a `Task`.
    Without a `method`, the best known for such data and so many images is taken. The choice is logged, with the reason.
    `settings` are hyper-parameters of the method, on top of the recipe for the data, or for the known set named by
    `recipe`. Data without a recipe takes that of the nearest known data. `published` leaves out what the recipe does
    differently from the paper, mostly to be faster. With `minutes` the run makes as many updates as fit into them. That
    number comes from two seconds of trying, and so depends on the machine. `flip`, `split` and `name` are those of
    `attar.load_data`: whether mirrored images keep their class, what judges, and what own data is called.

    With `out`, the result is saved there, and `resume` continues an interrupted run. `anyway` resumes also where
    another engine will give other bits. Raises `ValueError` for input that cannot be condensed as asked.
    """
    folder = None if out is None else Path(out)
    check_request(method, settings, minutes)  # now: reading the data may take long
    ipc = settle_budget(method, ipc)
    if folder is not None:
        claim(folder)
    run = Run(Rng.of(seed), folder, *choose_device_and_precision(device, precision), compile, progress=progress)
    task = load_data(data, network=network, flip=flip, split=split, name=name).to(run.device)
    if resume:
        task = flip_as_begun(task, folder, flip)
    method, resolved = decide(task, method, ipc, recipe, settings, published)
    if minutes is not None:
        resolved = fit_minutes(resolved, task, ipc, run, minutes, updates_as_begun(folder) if resume else None)
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
    ipc: int | None = None,
    *,
    seed: int = 0,
    recipe: str | None = None,
    published: bool = False,
    minutes: float | None = None,
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
    check_request(method, settings, minutes)
    ipc = settle_budget(method, ipc)
    run = Run(Rng.of(seed), None, *choose_device_and_precision(device, precision), compile)
    task = load_data(data, network=network, flip=flip, split=split, name=name).to(run.device)
    _, resolved = decide(task, method, ipc, recipe, settings, published)
    if minutes is not None:
        resolved = fit_minutes(resolved, task, ipc, run, minutes)
    with use_precision(run.precision), use_device(run.device):
        return forecast(resolved.method, task, ipc, run)


def decide(
    task: Task, method: str | None, ipc: int | None, recipe: str | None, settings: dict[str, Any], published: bool
) -> tuple[str, Resolved]:
    """The method's name, the best known where none is given, and the method with its values.

    What the recipe expects of them holds for its own data and Attar's default network.
    """
    if method is None:
        method, recipe = choose(task, ipc, recipe)
    source = check_data(recipe) if recipe else choose_recipe(task, method)
    if task.encoder is not None and looks_at_features(find(method)):
        settings = {"features": "encoder"} | settings
    resolved = resolve(method, source, ipc, settings, published)
    resolved = suit(resolved, task, settings)
    if not published and "factor" not in settings:
        resolved = fit_tiles(resolved, task, ipc)
    usual = source == task.name and task.network.name == "ConvNet"  # what the bands were measured with
    return method, resolved if usual else dataclasses.replace(resolved, expect={})


def looks_at_features(cls: type) -> bool:
    """Whether the method is one that can look at features of a user's encoder."""
    return "encoder" in get_args(get_type_hints(cls).get("features"))


def check_request(method: str | None, settings: dict[str, Any], minutes: float | None) -> None:
    """Raises `ValueError` for hyper-parameters that the method does not have, and for minutes that cannot be kept."""
    if method is not None:
        check_settings(find(method), settings)
    if minutes is None:
        return
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes must be a number above 0, not {minutes}")
    if "updates" in settings:
        raise ValueError(f"minutes and updates both say how long to run: give one, not {minutes:g} and the other")
    if method is not None:
        check_updates(find(method))


def check_updates(cls: type) -> None:
    """Raises `ValueError` for a method that makes no updates, whose number a time could decide."""
    if not hasattr(cls, "updates"):
        raise ValueError(f"minutes fits the number of updates to a time, but {cls.__name__} makes none")


def fit_minutes(
    resolved: Resolved, task: Task, ipc: int | None, run: Run, minutes: float, begun: int | None = None
) -> Resolved:
    """The method with as many updates as fit into the time, which is logged; a resumed run keeps its own, `begun`."""
    check_updates(type(resolved.method))
    if begun is None:
        with use_precision(run.precision), use_device(run.device):
            begun = fit_updates(resolved.method, task, ipc, run, minutes)
        logging.getLogger("attar").warning(f"{begun:,} updates, as many as fit into {duration(60 * minutes)}")
    told = f"{begun} updates, to take {duration(60 * minutes)}"
    return Resolved(dataclasses.replace(cast(Any, resolved.method), updates=begun), (*resolved.sources, told), {})


def describe(task: Task, method: str, ipc: int | None, seed: int, resolved: Resolved, run: Run) -> dict[str, Any]:
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
        **name_encoder(task, resolved.method),
        **name_generator(task, type(resolved.method)),
        "fingerprint": task.fingerprint,
        "engine": {
            "device": run.device.type,
            "precision": run.precision,
            "compile": run.compile,
            "threads": torch.get_num_threads(),  # sums are split among them, which decides the last bits
            "torch": torch.__version__,
        },
    }


def name_encoder(task: Task, method: Method) -> dict[str, str]:
    """Of the network by whose features the method selects; nothing where it looks at none."""
    if task.encoder is None or getattr(method, "features", None) != "encoder":
        return {}  # and no `None`: older runs, which know of no encoder, can be resumed
    return {"encoder": task.encoder.identity}


def name_generator(task: Task, cls: type) -> dict[str, str]:
    """Of the generator whose codes the method learns, the user's or Attar's; nothing where it learns none."""
    return {"generator": task.generator_identity} if takes_generator(cls) else {}


def takes_generator(cls: type) -> bool:
    """Whether the method learns codes of a generator, which may be a user's."""
    return getattr(cls, "takes_generator", False)


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
