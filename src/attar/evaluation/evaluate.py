"""Training fresh networks on condensed sets and testing them, once each, at the end."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import load
from attar.data.load import load_data
from attar.data.task import Task
from attar.engine.compiling import Compile, compiles
from attar.engine.precision import Precision, choose_device_and_precision
from attar.engine.run import Progress, silent
from attar.evaluation.processes import Job, Result, Ticker, execute
from attar.evaluation.rows import Row
from attar.files import write_tensors
from attar.networks.weights import TRAINING
from attar.training.protocol import PROTOCOLS, Protocol
from attar.wording import unknown


def evaluate(
    sets: CondensedSet | str | Path | Sequence[CondensedSet | str | Path],
    data: Any,
    *,
    protocol: str | Protocol = "dm",
    seeds: int | Iterable[int] = 3,
    network: str | None = None,
    eight_bit: bool = False,
    soft: bool = False,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    progress: Progress = silent,
) -> list[Row]:
    """One row for each set and seed: a fresh network, trained by `protocol`, tested after its last epoch.

    Sets may be given by their folders, `data` as `attar.condense` takes it; `seeds` as a number or one by one. On a CPU
    the networks are spread over one-thread processes where that pays. `eight_bit` trains on what the 8-bit images hold
    instead of the exact floats, `soft` on a set's soft labels. Raises `ValueError` where a set is not of this data or
    lacks soft labels, and for an unknown protocol, device or precision.
    """
    device, precision = choose_device_and_precision(device, precision)
    task = load_data(data, network=network)
    family = task.network.to(device)  # not the task: only what is trained and tested on moves
    protocol = protocol_by_name(protocol)
    seeds = list(range(seeds) if isinstance(seeds, int) else seeds)
    if not seeds:
        raise ValueError("evaluation needs at least one seed")
    given = [sets] if isinstance(sets, CondensedSet | str | Path) else sets
    loaded = [made if isinstance(made, CondensedSet) else load(made) for made in given]
    if not loaded:
        raise ValueError("evaluation needs at least one set")
    for made in loaded:
        check_fits(made, task)
        if soft and made.soft is None:
            own = f"the set of {made.provenance.get('method', 'given')}, {made.ipc} per class,"
            raise ValueError(f"{own} has no soft labels: condense with ncfm and soft=true, or learn labels")
    # Decided once for all networks: what one compiles, the next finds in the cache.
    flop = evaluation_flop(loaded, task, protocol) * len(seeds)
    compile = "on" if compiles(flop, device, compile) else "off"
    kind = {"eight_bit": eight_bit, "soft": soft}
    with tempfile.TemporaryDirectory(prefix="attar-") as folder:
        # Once, however many sets there are. Each set brings its normalisation, by which test images are normalised too.
        test = write_part(Path(folder) / "test.safetensors", task.test.x.cpu(), task.test.y.cpu())
        staged = [
            (made.normalisation, write_part(Path(folder) / f"{i}.safetensors", *made.as_dataset(**kind).tensors))
            for i, made in enumerate(loaded)
        ]
        # A GPU trains networks side by side, which one alone would not fill; on a CPU each may go to another process.
        teams = [tuple(seeds)] if device.type == "cuda" else [(seed,) for seed in seeds]
        jobs = [
            Job(train, test, own, family, protocol, len(task.classes), team, task.flip, precision, compile, device)
            for own, train in staged
            for team in teams
        ]
        ticks = sum(protocol.updates(len(made.decoded_labels())) for made in loaded) * len(teams)
        results = execute(jobs, flop, Ticker(Path(folder) / "ticks", ticks, progress))
    owners = [(made, seed) for made in loaded for seed in seeds]
    return [
        make_row(made, task, jobs[0], seed, kind, result) for (made, seed), result in zip(owners, results, strict=True)
    ]


def protocol_by_name(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(unknown("protocol", protocol, PROTOCOLS))
    return PROTOCOLS[protocol]


def check_fits(made: CondensedSet, task: Task) -> None:
    """Raises `ValueError` where the set is of other classes or shapes than the task."""
    if made.classes != task.classes:
        raise ValueError(
            f"the set's classes {first_few(made.classes)} are not those of {task.name}: {first_few(task.classes)}"
        )
    if made.images.shape[1:] != task.shape:
        raise ValueError(f"the set's images are {tuple(made.images.shape[1:])}, those of {task.name} {task.shape}")


def first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", … ({len(names)})" if len(names) > 3 else "")


def evaluation_flop(sets: Sequence[CondensedSet], task: Task, protocol: Protocol) -> int:
    """Floating-point operations of training one network on each set and testing it."""
    images = sum(
        TRAINING * protocol.length(n) * n + len(task.test.y) for n in (len(made.decoded_labels()) for made in sets)
    )
    return images * task.network.flop(task.shape)


def write_part(path: Path, x: Tensor, y: Tensor) -> Path:
    """Images and labels in a file, which processes share."""
    write_tensors(path, {"x": x, "y": y}, {})
    return path


def variant(made: CondensedSet) -> str:
    """Tells apart sets of one method, by how they were made and from what.

    Where nothing is known of that, by their images.
    """
    about = made.provenance
    if "hyperparameters" in about:
        # Not the seed: draws of one variant are averaged.
        facts = about["hyperparameters"], about["network"], about["fingerprint"], about["engine"]["precision"]
        told = json.dumps(facts).encode()
    else:
        told = made.images.numpy().tobytes()
    return hashlib.blake2b(told, digest_size=4).hexdigest()


def make_row(made: CondensedSet, task: Task, job: Job, seed: int, kind: dict[str, bool], result: Result) -> Row:
    """The result with all that a reader needs to judge it.

    What the set's provenance does not say is `given`, 0 or `None`.
    """
    about: dict[str, Any] = made.provenance
    return Row(
        data=task.name,
        method=about.get("method", "given"),
        ipc=made.ipc,
        draw=about.get("seed", 0),
        variant=variant(made),
        protocol=job.protocol.name,
        network=job.network.name,
        seed=seed,
        accuracy=result.accuracy,
        per_class=result.per_class,
        epochs=job.protocol.length(len(made.decoded_labels())),
        bytes=made.bytes["eight_bit" if kind["eight_bit"] else "stored"] + made.bytes["soft"] * kind["soft"],
        eight_bit=kind["eight_bit"],
        soft=kind["soft"],
        precision=job.precision,
        split=task.split,
        condense_seconds=about.get("seconds"),
        train_seconds=round(result.seconds, 2),
    )
