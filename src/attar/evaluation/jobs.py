"""Networks to train on a condensed set and to test: a piece of work that makes rows."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.data.task import OWN_GENERATOR, Task
from attar.data.whitening import AnyNormalisation
from attar.engine.compiling import Compile
from attar.engine.device import use_device
from attar.engine.piece import Piece, Tick
from attar.engine.precision import Precision, use_precision
from attar.engine.run import Run
from attar.engine.staging import Part, read_part
from attar.evaluation.fresh import Fresh
from attar.evaluation.judged_on import find_fingerprint
from attar.evaluation.rows import Row, identity, read_rows, write_rows
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.fit import fit_together, predict
from attar.training.protocol import Protocol
from attar.wording import budget

VERSION = 1  # of how networks are trained and tested: rows of another are not taken


def list_examples(made: CondensedSet, protocol: Protocol, kind: dict[str, bool]) -> dict[str, Tensor]:
    """The images and labels that networks are trained on; in the order of learned steps, with the sizes of these."""
    x, y = made.as_dataset(**kind).tensors
    if made.steps is None or not protocol.in_order:
        return {"x": x, "y": y}
    rows = made.steps.rows.flatten()
    return {"x": x[rows], "y": y[rows], "sizes": made.steps.sizes.flatten()}


@dataclass(frozen=True)
class Job:
    """Networks to train side by side on a set, and to test. Tensors travel as files, so that processes share them."""

    train: Part
    test: Part
    normalisation: AnyNormalisation
    network: Network
    home: Path | None
    """The file that keeps the rows, if they are kept."""
    protocol: Protocol
    classes: int
    flip: bool
    precision: Precision
    compile: Compile
    device: torch.device
    fresh: Fresh | None = None
    """What gives other images for each epoch, where the protocol takes such."""
    rows: tuple[Row, ...] = ()
    """One for each network, with all but what its training will tell."""


def make_row(made: CondensedSet, task: Task, job: Job, seed: int, kind: dict[str, bool]) -> Row:
    """All that a reader needs to judge a result, without the result.

    What the set's provenance does not say is `given`, 0 or `None`.
    """
    about: dict[str, Any] = made.provenance
    used = {"eight_bit" if kind["eight_bit"] else "stored", "whitening", *(n for n in ("soft", "targets") if kind[n])}
    return Row(
        data=task.name,
        method=about.get("method", "given"),
        ipc=made.ipc,
        draw=about.get("seed", 0),
        variant=variant(made),
        protocol=job.protocol.name,
        network=job.network.name,
        seed=seed,
        accuracy=math.nan,
        per_class=(),
        epochs=job.protocol.length(job.protocol.seen(len(made.decoded_labels()))),
        bytes=sum(count for name, count in made.bytes.items() if name in used),
        eight_bit=kind["eight_bit"],
        soft=kind["soft"],
        precision=job.precision,
        split=task.split,
        condense_seconds=about.get("seconds"),
        train_seconds=math.nan,
        flip=task.flip if task.columns is None else None,
        key=identify(job, seed),
        fingerprint=find_fingerprint(made, task),
        tested=job.test.hash,
        images=len(made.labels),
        generator=made.generative,
        whitening=job.normalisation.remark,
        step_size=job.protocol.lr if job.protocol.learned_step else None,
        learned_steps=made.steps.sizes.numel() if made.steps and job.protocol.in_order else 0,
        targets=kind["targets"] and made.targets is not None,
    )


def identify(job: Job, seed: int) -> str:
    """A hash of all that a network's accuracy depends on; empty where the network itself cannot be told from others.

    Compiled and eager networks, and those of other numbers of threads, differ in their last bits alone: they are one.
    """
    if not job.network.key:
        return ""
    engine = job.precision, job.device.type, torch.__version__
    parts = job.normalisation.identity, job.network.key, job.protocol, job.classes, job.flip
    drawn = [] if job.fresh is None else [job.fresh.hash]
    facts = VERSION, seed, parts, engine, job.train.hash, job.test.hash, *drawn
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def variant(made: CondensedSet) -> str:
    """Tells apart sets of one method, by how they were made and from what.

    Where nothing is known of that, by their images.
    """
    about = made.provenance
    if "hyperparameters" in about:
        # Not the seed: draws of one variant are averaged.
        precision = about.get("engine", {}).get("precision")
        facts = [about["hyperparameters"], about.get("network"), about.get("fingerprint"), precision]
        facts += (
            [about["generator"]] if about.get("generator", OWN_GENERATOR) != OWN_GENERATOR else []
        )  # older sets have none
        told = json.dumps(facts).encode()
    else:
        told = made.images.numpy().tobytes()
    return hashlib.blake2b(told, digest_size=4).hexdigest()


def divide(job: Job, found: Sequence[Row]) -> list[Job]:
    """A job for each network; on a GPU one for all of them, which it trains side by side, without those found."""
    if job.device.type != "cuda":  # each may go to another process
        return [replace(job, rows=(row,)) for row in job.rows]
    keys = {row.key for row in found}
    left = tuple(row for row in job.rows if row.key not in keys)
    return [replace(job, rows=left)] if left else []


def make_piece(job: Job, cost: int, steps: int, passing: Path) -> Piece:
    """The job as a piece of work, which commands share that keep rows in the same folder.

    Networks without a key, which cannot be told from others, and rows that are not kept have only a folder that passes.
    """
    row, count = job.rows[0], len(job.rows)
    networks = row.network if count == 1 else f"{count} × {row.network}"
    name = f"{networks} on {row.method}, {budget(row.ipc, row.images, row.generator)}, draw {row.draw}"
    shared = job.home is not None and all(each.key for each in job.rows)
    folder = job.home.parent if job.home and shared else passing
    recipe = " ".join(each.key or job.train.hash for each in job.rows)
    return Piece(recipe, name, row.seed, folder, partial(judge, job), partial(find_rows, job), cost, steps)


def judge(job: Job, tick: Tick) -> list[Row]:
    """Train and test the networks; the rows are kept at once, and make the piece complete."""
    rows = take_kept(job.rows, read_kept(job))  # of another set with the same images
    if len(rows) < len(job.rows):
        rows = train_and_test(job, tick)
    if job.home:
        write_rows(job.home, rows)
    return rows


def find_rows(job: Job) -> list[Row] | None:
    """The job's rows where all of them are kept."""
    kept = read_kept(job)
    found, known = take_kept(job.rows, kept), set(map(identity, kept))
    return found if len(found) == len(job.rows) and known.issuperset(map(identity, found)) else None


def read_kept(job: Job) -> list[Row]:
    return read_rows(job.home) if job.home else []


def take_kept(rows: Sequence[Row], kept: Sequence[Row]) -> list[Row]:
    """Those of the rows that are of the very same networks as some that were kept, with what these tell."""
    known = {row.key: row for row in kept if row.key}
    learned = ("per_class", "accuracy", "train_seconds", "measures")
    found = [(row, known[row.key]) for row in rows if row.key in known]
    return [replace(row, **{name: getattr(own, name) for name in learned}) for row, own in found]


def train_and_test(job: Job, tick: Tick) -> list[Row]:
    """The rows with accuracies in per cent over the test part, and each network's share of the seconds of training."""
    learned, test = (read_part(part, job.device) for part in (job.train, job.test))
    rngs = [Rng.of(row.seed).fold("evaluate") for row in job.rows]
    run = Run(rngs[0], device=job.device, precision=job.precision, compile=job.compile)

    def count(_: list[Weights]) -> None:
        tick()

    def look(part: slice) -> Tensor:
        return job.normalisation.to_network(unit(test["x"][part]))  # floats only of a part: four times the bytes

    x, y, renew = learned["x"], learned["y"], None
    if job.fresh is not None:
        renew = job.fresh.load(job.protocol.seen(len(y)), job.device)
        x, y = renew(rngs[0])  # of as many as each epoch will have
    options: dict[str, Any] = {"flip": job.flip, "sizes": learned.get("sizes"), "renew": renew}
    start = time.perf_counter()
    with use_precision(job.precision), use_device(job.device):
        networks = fit_together(job.network, x, y, job.protocol, rngs, run, tick=count, **options)
        seconds = (time.perf_counter() - start) / len(rngs)
        found = predict(job.network, networks, look, len(test["y"]), run)
    hits = [labels == test["y"] for labels in found]
    per_class = [tuple(average(right[test["y"] == c]) for c in range(job.classes)) for right in hits]
    accuracies = [100 * right.float().mean().item() for right in hits]
    return [
        replace(row, per_class=own, accuracy=accuracy, train_seconds=round(seconds, 2))
        for row, own, accuracy in zip(job.rows, per_class, accuracies, strict=True)
    ]


def average(right: Tensor) -> float | None:
    """Per cent of these answers that are right; `None` where there are none."""
    return 100 * right.float().mean().item() if len(right) else None
