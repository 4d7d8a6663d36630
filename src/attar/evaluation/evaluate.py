"""Training fresh networks on condensed sets and testing them, once each, at the end."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, REQUEST, claim, load
from attar.data.load import Split
from attar.data.task import Task
from attar.engine.ambient import plain_torch
from attar.engine.compiling import Compile, compiles
from attar.engine.ledger import LEDGER, drop_ledger
from attar.engine.piece import Piece
from attar.engine.pieces import run_pieces
from attar.engine.precision import Precision, choose_device_and_precision
from attar.engine.run import Progress, silent
from attar.engine.staging import staging_folder, write_part
from attar.evaluation.fresh import Fresh
from attar.evaluation.jobs import Job, divide, list_examples, make_piece, make_row, take_kept
from attar.evaluation.judged_on import (
    describe,
    find_task,
    warn_of_other_data,
    warn_of_unexpected,
)
from attar.evaluation.rows import ROWS, Row, read_rows, write_rows
from attar.networks.network import Network
from attar.networks.weights import TRAINING
from attar.training.pretrained import suited
from attar.training.protocol import PROTOCOLS, Protocol
from attar.wording import unknown

MOST_SEEDS = 100_000


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

    `eight_bit` trains on what the 8-bit images hold instead of the exact floats, `soft` on a set's soft labels. The
    protocols `mtt`, `datm`, `bptt`, `dd` and `frepo` take more of a set: its learned step size or steps, whitening,
    soft labels, or targets. `dim` takes its generator, and draws fresh images of it for each epoch. `flip`, `split` and
    `name` are those of `attar.load_data`: whether mirrored images keep their class, what judges, and what own data is
    called. Where a set's training images may be among the test images, it warns. Raises `ValueError` where a set is not
    of this data or lacks what is taken of it, and for an unknown network, protocol, device or precision.
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
    soft = soft or protocol.soft
    check_soft(loaded, soft, protocol)
    check_step_size(loaded, protocol)
    check_generator(loaded, protocol, eight_bit)
    if not protocol.whitened:
        loaded = [made.renormalised(made.normalisation.plain) for made in loaded]
    protocol = suited(task, protocol)
    warn_of_other_data(loaded, task, given=test is not None)
    # Decided once for all networks: what one compiles, the next finds in the cache.
    families = [family.to(device) for family in find_networks(task, networks)]  # not the task: only what is trained on
    flop = evaluation_flop(loaded, task, families, protocol) * len(seeds)
    compile = "on" if compiles(flop, device, compile) else "off"
    engine = {"precision": precision, "compile": compile, "device": device}
    kind = {"eight_bit": eight_bit, "soft": soft, "targets": protocol.loss == "squares"}
    rows: dict[tuple[int, str, int], Row] = {}
    with staging_folder() as folder:
        pieces: list[tuple[int, Piece]] = []
        each = dict.fromkeys(seeds)  # once
        for i, job in make_jobs(folder, loaded, task, families, protocol, each, kind, homes, engine):
            found = take_kept(job.rows, earlier[i])
            if found and job.home:
                write_rows(job.home, found)  # with what rows of older versions lack
            rows |= index(i, found)
            cost = evaluation_flop([loaded[i]], task, [job.network], protocol)
            steps = job.protocol.updates(protocol.seen(len(loaded[i].decoded_labels())))
            pieces += [(i, make_piece(part, cost * len(part.rows), steps, folder)) for part in divide(job, found)]
        if rows:
            left = len(loaded) * len(families) * len({*seeds}) - len(rows)
            told = f"networks with rows from an earlier run: {len(rows)}; networks to train now: {left}"
            logging.getLogger("attar").warning(told)
        made = run_pieces([piece for _, piece in pieces], called="networks", device=device, progress=progress)
    for (i, _), own in zip(pieces, made, strict=True):
        rows |= index(i, own)
    for folder in {home.parent for home in homes if home}:
        drop_ledger(folder)  # the rows tell the same
    for i, judged in enumerate(loaded):
        warn_of_unexpected(judged, [rows[i, family.name, seed] for family in families for seed in seeds])
    return [rows[i, family.name, seed] for i in range(len(loaded)) for family in families for seed in seeds]


def make_jobs(
    folder: Path,
    sets: Sequence[CondensedSet],
    task: Task,
    networks: Sequence[Network],
    protocol: Protocol,
    seeds: Iterable[int],
    kind: dict[str, bool],
    homes: Sequence[Path | None],
    engine: dict[str, Any],
) -> Iterator[tuple[int, Job]]:
    """All networks of one kind that judge a set, with the set's number; `folder` gets what they are trained on."""
    # Once, however many sets there are. Each set brings its normalisation, by which test images are normalised too.
    test = write_part(folder / "test.safetensors", x=task.test.x, y=task.test.y)
    about: dict[str, Any] = {"test": test, "classes": len(task.classes), "flip": task.flip} | engine
    for i, (made, home) in enumerate(zip(sets, homes, strict=True)):
        train = write_part(folder / f"{i}.safetensors", **list_examples(made, protocol, kind))
        fresh = Fresh.of(made, folder / f"{i}-generator.safetensors") if protocol.fresh else None
        for network in networks:
            own: dict[str, Any] = {"normalisation": made.normalisation, "protocol": protocol.at(made)}
            job = Job(train=train, network=network, home=home, fresh=fresh, **own, **about)
            yield i, replace(job, rows=tuple(make_row(made, task, job, seed, kind) for seed in seeds))


def index(i: int, rows: Sequence[Row]) -> dict[tuple[int, str, int], Row]:
    """Rows of the i-th set by its number, their network and their seed."""
    return {(i, row.network, row.seed): row for row in rows}


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
        claim(out, (ROWS, LEDGER, MANIFEST, REQUEST, f"*/{MANIFEST}"))
        out.mkdir(parents=True, exist_ok=True)
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise ValueError(f"rows cannot be kept in {folder}, which is read-only: name another folder with --out")
    return folder / ROWS


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


def check_soft(sets: Sequence[CondensedSet], soft: bool, protocol: Protocol) -> None:
    """Raises `ValueError` where one lacks the soft labels that are wanted, or the protocol takes none."""
    if soft and protocol.loss == "squares":
        raise ValueError(f"the protocol {protocol.name} trains on targets: leave soft out")
    for made in sets:
        if soft and made.soft is None:
            told = "has no soft labels: condense with ncfm and soft=true, or with a method that learns labels"
            raise ValueError(f"{describe(made)}, {told}")


def check_step_size(sets: Sequence[CondensedSet], protocol: Protocol) -> None:
    """Raises `ValueError` where one lacks the learned step size, or steps, that the protocol takes."""
    for made in sets:
        if protocol.in_order and made.steps is None:
            told = f"has no learned steps, by which the protocol {protocol.name} trains"
            raise ValueError(f"{describe(made)}, {told}: dd learns some, and the protocol dm needs none")
        if protocol.learned_step and made.step_size is None:
            told = f"has no learned step size, with which the protocol {protocol.name} trains"
            raise ValueError(f"{describe(made)}, {told}: methods such as mtt learn one, and the protocol dm needs none")


def check_generator(sets: Sequence[CondensedSet], protocol: Protocol, eight_bit: bool) -> None:
    """Raises `ValueError` where one is no generator whose fresh images the protocol takes."""
    if protocol.fresh and eight_bit:
        raise ValueError(f"the protocol {protocol.name} draws fresh images, and there are none at 8 bit")
    for made in sets:
        if protocol.fresh and not made.generative:
            told = f"is no generator, of which the protocol {protocol.name} draws fresh images"
            raise ValueError(f"{describe(made)}, {told}: the method dim learns one")


def evaluation_flop(sets: Sequence[CondensedSet], task: Task, networks: Sequence[Network], protocol: Protocol) -> int:
    """Floating-point operations of training each of the networks once on each set, and testing it."""
    known = [(protocol.at(made), protocol.seen(len(made.decoded_labels()))) for made in sets]
    images = sum(TRAINING * own.length(n) * n + len(task.test.y) for own, n in known)
    return images * sum(network.flop(task.shape) for network in networks)
