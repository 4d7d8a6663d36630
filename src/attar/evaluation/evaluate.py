"""Training fresh networks on condensed sets and testing them, once each, at the end."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, REQUEST, claim, load
from attar.data.load import Split
from attar.data.task import Task
from attar.engine.ambient import plain_torch
from attar.engine.compiling import Compile, compiles
from attar.engine.precision import Precision, choose_device_and_precision
from attar.engine.run import Progress, silent
from attar.evaluation.judged_on import (
    describe,
    find_fingerprint,
    find_task,
    warn_of_other_data,
    warn_of_unexpected,
)
from attar.evaluation.processes import Job, Part, Result, Ticker, execute
from attar.evaluation.rows import ROWS, Row, read_rows, write_rows
from attar.evaluation.staging import stage
from attar.files import hash_tensors, write_tensors
from attar.networks.network import Network
from attar.networks.weights import TRAINING
from attar.training.protocol import PROTOCOLS, Protocol
from attar.wording import unknown

MOST_SEEDS = 100_000
VERSION = 1  # of how networks are trained and tested: rows of another are not taken


@checked
@plain_torch()
def evaluate(
    sets: CondensedSet | str | Path | Sequence[CondensedSet | str | Path],
    data: Any = None,
    *,
    test: Any = None,
    protocol: str | Protocol = "dm",
    seeds: int | Iterable[int] = 3,
    network: str | None = None,
    networks: str | Sequence[str] = (),
    flip: bool | None = None,
    split: Split | None = None,
    name: str | None = None,
    eight_bit: bool = False,
    soft: bool = False,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    out: str | Path | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """One row for each set, network and seed: a fresh network, trained by `protocol`, tested after its last epoch.

    Sets may be given by their folders, `data` as `attar.condense` takes it; `seeds` as a number or one by one. `test`,
    as `(x, y)` or a `Dataset`, is tested on instead of the data's own test part, all of it. Then `data` may be left
    out. On a CPU the networks are spread over one-thread processes where that pays. Each row is kept as its network
    ends, in the folder `out`, or else in the folders that the sets were given by. Rows of the very same networks that
    lie there are taken, so that an interrupted evaluation goes on.

    `network` is trained instead of the data's own. `networks` names several, each of which judges every set. They are
    known names, `timm:NAME`, or `file.py:Name`.

    `eight_bit` trains on what the 8-bit images hold instead of the exact floats, `soft` on a set's soft labels. `flip`,
    `split` and `name` are those of `attar.load_data`: whether mirrored images keep their class, what judges, and what
    own data is called. Where a set's training images may be among the test images, it warns. Raises `ValueError` where
    a set is not of this data or lacks soft labels, and for an unknown network, protocol, device or precision.
    """
    check_networks(network, networks)
    device, precision = choose_device_and_precision(device, precision)
    protocol = protocol_by_name(protocol)
    seeds = list_seeds(seeds)
    given = [sets] if isinstance(sets, CondensedSet | str | Path) else sets
    homes = [find_home(made, None if out is None else Path(out)) for made in given]
    earlier = [[] if home is None else read_rows(home) for home in homes]
    loaded = [made if isinstance(made, CondensedSet) else load(made) for made in given]
    task = find_task(loaded, data, test, network=network, flip=flip, split=split, name=name)
    check_soft(loaded, soft)
    protocol = protocol if task.columns is None else protocol.plain()
    warn_of_other_data(loaded, task, given=test is not None)
    # Decided once for all networks: what one compiles, the next finds in the cache.
    families = [family.to(device) for family in find_networks(task, networks)]  # not the task: only what is trained on
    flop = evaluation_flop(loaded, task, families, protocol) * len(seeds)
    compile = "on" if compiles(flop, device, compile) else "off"
    common = protocol, len(task.classes), tuple(dict.fromkeys(seeds)), task.flip, precision, compile, device
    kind = {"eight_bit": eight_bit, "soft": soft}
    rows: dict[tuple[int, str, int], Row] = {}

    def keep(job: Job, results: Sequence[Result]) -> None:
        made = [
            make_row(loaded[job.of], task, job, seed, kind, result)
            for seed, result in zip(job.seeds, results, strict=True)
        ]
        rows.update({(job.of, row.network, row.seed): row for row in made})
        if made and (home := homes[job.of]):
            write_rows(home, made)

    with stage() as folder:
        # Once, however many sets there are. Each set brings its normalisation, by which test images are normalised too.
        test = write_part(folder / "test.safetensors", task.test.x.cpu(), task.test.y.cpu())
        jobs = []
        for i, made in enumerate(loaded):
            train = write_part(folder / f"{i}.safetensors", *made.as_dataset(**kind).tensors)
            for family in families:
                job = Job(i, train, test, made.normalisation, family, *common)
                found = find_results(job, earlier[i])
                keep(replace(job, seeds=tuple(found)), list(found.values()))
                jobs += divide(job, [seed for seed in job.seeds if seed not in found])
        ticks = sum(protocol.updates(len(loaded[job.of].decoded_labels())) for job in jobs)
        if rows:
            told = f"networks with rows from an earlier run: {len(rows)}; networks to train now: "
            logging.getLogger("attar").warning(told + str(sum(len(job.seeds) for job in jobs)))
        if jobs:
            execute(jobs, flop, Ticker(folder / "ticks", ticks, progress), keep)
    for i, made in enumerate(loaded):
        warn_of_unexpected(made, [rows[i, family.name, seed] for family in families for seed in seeds])
    return [rows[i, family.name, seed] for i in range(len(loaded)) for family in families for seed in seeds]


def check_networks(network: str | None, networks: str | Sequence[str]) -> None:
    """Raises `ValueError` where both are given."""
    if network is not None and networks:
        raise ValueError("network and networks both say what is trained: leave out one of them")


def find_networks(task: Task, names: str | Sequence[str]) -> list[Network]:
    """Those of the names, each once; without names the task's own. Raises `ValueError` where one is unknown."""
    named = [names] if isinstance(names, str) else names
    found = [task.with_network(name).network for name in dict.fromkeys(named)] or [task.network]
    return list({family.name: family for family in found}.values())


def find_home(made: CondensedSet | str | Path, out: Path | None) -> Path | None:
    """The file that keeps a set's rows: in `out`, or else in the set's own folder where it was given by that.

    Raises `ValueError` where it cannot be written.
    """
    folder = Path(made) if out is None and not isinstance(made, CondensedSet) else out
    if folder is None:
        return None
    if out is not None:
        claim(out, (ROWS, MANIFEST, REQUEST, f"*/{MANIFEST}"))
        out.mkdir(parents=True, exist_ok=True)
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise ValueError(f"rows cannot be kept in {folder}, which is read-only: name another folder with --out")
    return folder / ROWS


def find_results(job: Job, rows: Sequence[Row]) -> dict[int, Result]:
    """By seed what is known of the job's networks from rows that were kept."""
    kept = {row.key: Result(row.per_class, row.accuracy, row.train_seconds, row.measures) for row in rows if row.key}
    keys = {seed: identify(job, seed) for seed in job.seeds} if kept else {}
    return {seed: kept[key] for seed, key in keys.items() if key in kept}


def identify(job: Job, seed: int) -> str:
    """A hash of all that a network's accuracy depends on; empty where the network itself cannot be told from others.

    Compiled and eager networks, and those of other numbers of threads, differ in their last bits alone: they are one.
    """
    if not job.network.key:
        return ""
    engine = job.precision, job.device.type, torch.__version__
    parts = job.normalisation.identity, job.network.key, job.protocol, job.classes, job.flip
    facts = VERSION, seed, parts, engine, job.train.hash, job.test.hash
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def divide(job: Job, seeds: Sequence[int]) -> list[Job]:
    """A GPU trains networks side by side, which one alone would not fill; on a CPU each may go to another process."""
    teams = [tuple(seeds)] if job.device.type == "cuda" and seeds else [(seed,) for seed in seeds]
    return [replace(job, seeds=team) for team in teams]


def list_seeds(seeds: int | Iterable[int]) -> list[int]:
    """Given as a number or one by one."""
    if isinstance(seeds, int) and seeds > MOST_SEEDS:  # a list of them would fill the memory
        raise ValueError(f"evaluation takes at most {MOST_SEEDS:,} seeds")
    if not (listed := list(range(seeds) if isinstance(seeds, int) else seeds)):
        raise ValueError("evaluation needs at least one seed")
    return listed


def protocol_by_name(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(unknown("protocol", protocol, PROTOCOLS))
    return PROTOCOLS[protocol]


def check_soft(sets: Sequence[CondensedSet], soft: bool) -> None:
    """Raises `ValueError` where one lacks the soft labels that are wanted."""
    for made in sets:
        if soft and made.soft is None:
            told = "has no soft labels: condense with ncfm and soft=true, or with a method that learns labels"
            raise ValueError(f"{describe(made)}, {told}")


def evaluation_flop(sets: Sequence[CondensedSet], task: Task, networks: Sequence[Network], protocol: Protocol) -> int:
    """Floating-point operations of training each of the networks once on each set, and testing it."""
    images = sum(
        TRAINING * protocol.length(n) * n + len(task.test.y) for n in (len(made.decoded_labels()) for made in sets)
    )
    return images * sum(network.flop(task.shape) for network in networks)


def write_part(path: Path, x: Tensor, y: Tensor) -> Part:
    """Images and labels in a file, which processes share."""
    tensors = {"x": x.contiguous(), "y": y.contiguous()}
    write_tensors(path, tensors, {})
    return Part(path, hash_tensors(tensors, ""))  # not of the file, whose header has no certain order


def variant(made: CondensedSet) -> str:
    """Tells apart sets of one method, by how they were made and from what.

    Where nothing is known of that, by their images.
    """
    about = made.provenance
    if "hyperparameters" in about:
        # Not the seed: draws of one variant are averaged.
        precision = about.get("engine", {}).get("precision")
        facts = about["hyperparameters"], about.get("network"), about.get("fingerprint"), precision
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
        flip=task.flip if task.columns is None else None,
        key=identify(job, seed),
        measures=result.measures,
        fingerprint=find_fingerprint(made, task),
        tested=job.test.hash,
        images=len(made.labels),
    )
