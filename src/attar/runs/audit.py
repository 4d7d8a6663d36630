"""Audits of condensed sets: what else they are worth, with the whole set and random images beside them."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, REQUEST, claim, load
from attar.data.load import Split, load_data
from attar.data.task import Task
from attar.engine.ambient import plain_torch
from attar.engine.compiling import Compile
from attar.engine.ledger import LEDGER
from attar.engine.piece import Piece, note_plan
from attar.engine.pieces import run_pieces
from attar.engine.precision import Precision, choose_device_and_precision
from attar.engine.run import Progress, silent
from attar.engine.staging import staging_folder
from attar.evaluation.audits.consistency import Consistency
from attar.evaluation.audits.distribution import Distribution
from attar.evaluation.audits.fairness import Fair
from attar.evaluation.audits.frame import Audit, Bench, Subject, check_protocol, draw_control, make_subject
from attar.evaluation.audits.measures import AUDITED, MEASURES, Measure, write_measures
from attar.evaluation.audits.privacy import Private
from attar.evaluation.audits.robustness import Robust
from attar.evaluation.evaluate import list_seeds, protocol_by_name
from attar.evaluation.judged_on import check_fits
from attar.files import cache_folder, check_cache, check_writable
from attar.methods import find
from attar.rng import Rng
from attar.runs.condense import condense
from attar.runs.recipe import check_settings
from attar.training.pretrained import suited
from attar.training.protocol import Protocol
from attar.wording import unknown

# In the order of a report. Each may be asked for with its own settings, as `robust=Robust(images=200)`.
AUDITS: dict[str, type[Audit]] = {
    "robust": Robust,
    "fair": Fair,
    "private": Private,
    "distribution": Distribution,
    "consistency": Consistency,
}
FEWEST = 20  # test images, below which no interval says anything


@checked
@plain_torch()
def audit(
    sets: CondensedSet | str | Path | Sequence[CondensedSet | str | Path],
    data: Any,
    *,
    robust: Any = False,
    fair: Any = None,
    private: Any = False,
    distribution: Any = False,
    consistency: Any = False,
    protocol: str | Protocol = "dm",
    seeds: int | Iterable[int] = 3,
    network: str | None = None,
    flip: bool | None = None,
    split: Split | None = None,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    out: str | Path | None = None,
    progress: Progress = silent,
) -> list[Measure]:
    """What audits find of each set, and of two controls beside it: the whole set, and as many random real images.

    Sets may be given by their folders, `data` as `attar.condense` takes it. Each audit is asked for by `True`, or by
    its own settings, such as `Robust(images=200)`. `fair` is also asked for by the groups, as `attar.load_data` takes
    them. Networks are trained by `protocol`, one for each of the `seeds`, and on the whole set one by `whole20`. Work
    is done in pieces, which are kept in the folder `out`, or else in the folders that the sets were given by; what
    belongs to the controls then lies in the cache. So an interrupted audit goes on.

    Raises `ValueError` where a set is not of this data, there are too few images, or an audit cannot be done.
    """
    device, precision = choose_device_and_precision(device, precision)
    engine: dict[str, Any] = {"precision": precision, "compile": compile, "device": device}
    group = None if isinstance(fair, bool | Fair) else fair
    asked = {
        "robust": robust,
        "fair": fair if group is None else True,
        "private": private,
        "distribution": distribution,
        "consistency": consistency,
    }
    audits = [choose(name, given) for name, given in asked.items() if given is not None and given is not False]
    protocol, networks = protocol_by_name(protocol), tuple(dict.fromkeys(list_seeds(seeds)))
    task = load_data(data, network=network, flip=flip, split=split, group=group).to(device)
    given = [sets] if isinstance(sets, CondensedSet | str | Path) else sets
    loaded = [made if isinstance(made, CondensedSet) else load(made) for made in given]
    check(audits, loaded, task, protocol)
    homes = [find_home(made, None if out is None else Path(out)) for made in given]
    with staging_folder() as passing:
        bench = Bench(task, suited(task, protocol), networks, passing, partial(condense_again, engine), **engine)
        shared = Path(out) if out is not None else cache_folder() if check_cache() else passing
        subjects = list_subjects(loaded, [home or passing for home in homes], shared, bench)
        measures = measure_all(audits, subjects, bench, progress)
    for home in dict.fromkeys(home for home in homes if home):
        write_measures(home / MEASURES, measures)
    return measures


def choose(name: str, given: Any) -> Audit:
    """The audit of this name, with its default settings or those given. Raises `ValueError` for anything else."""
    kind: Any = AUDITS[name]
    return given if isinstance(given, kind) else kind() if given is True else kind(given)


def make_audit(name: str, settings: dict[str, Any]) -> Audit:
    """The audit of this name with these settings. Raises `ValueError` for one that it does not have or take."""
    kind: Any = AUDITS[name]
    known = [part.name for part in fields(kind)]
    for key in settings:
        if key not in known:
            raise ValueError(unknown(f"setting of the audit {name}", key, known))
    return kind(**settings)


def find_home(made: CondensedSet | str | Path, out: Path | None) -> Path | None:
    """The folder that keeps what is found of a set; `None` for one that was given by itself.

    Raises `ValueError` where it cannot be written.
    """
    if out is not None:
        claim(out, (MEASURES, f"{AUDITED}/{LEDGER}", MANIFEST, REQUEST, f"*/{MANIFEST}"))
        return out
    if isinstance(made, CondensedSet):
        return None
    check_writable(Path(made))
    return Path(made)


def check(audits: Sequence[Audit], sets: Sequence[CondensedSet], task: Task, protocol: Protocol) -> None:
    """Raises `ValueError` where nothing can be audited."""
    if not audits:
        raise ValueError(f"say what to audit: {', '.join(AUDITS)}")
    if not sets:
        raise ValueError("an audit needs at least one set")
    check_protocol(protocol)
    for made in sets:
        check_fits(made, task)
        if any(isinstance(one, Private) for one in audits) and "hyperparameters" in made.provenance:
            check_settings(find(made.provenance["method"]), made.provenance["hyperparameters"])  # it will run again
    if len(task.test.y) < FEWEST:
        told = f"{task.name} has {len(task.test.y)} test {task.called}s"
        raise ValueError(f"{told}, and an audit needs at least {FEWEST} to say anything")


def list_subjects(sets: Sequence[CondensedSet], homes: Sequence[Path], shared: Path, bench: Bench) -> list[Subject]:
    """The sets, then the controls: random images for each number of images, and the whole set."""
    plain = [made.renormalised(made.normalisation.plain) for made in sets]
    found = [make_subject(made, "set", home, bench.passing) for made, home in zip(plain, homes, strict=True)]
    controls = {tuple(made.labels.bincount().tolist()): made for made in plain}
    given = {tuple(made.labels.bincount().tolist()) for made in plain if made.provenance.get("method") == "random"}
    for counts, made in controls.items():
        if counts not in given:
            drawn = draw_control(made, bench.task, Rng(("audit", "random")))
            found.append(make_subject(drawn, "random", shared, bench.passing))
    found.append(make_subject(CondensedSet.whole(bench.task), "whole", shared, bench.passing))
    return found


class Work(NamedTuple):
    """All that audits do: networks are trained first, then it is measured."""

    networks: list[Piece]
    measurements: dict[tuple[str, Subject], list[Piece]]
    """Of each audit and subject."""

    @property
    def pieces(self) -> list[Piece]:
        return [piece for own in self.measurements.values() for piece in own]


def list_work(audits: Sequence[Audit], subjects: Sequence[Subject], bench: Bench) -> Work:
    """What is to be done, or was done before. Raises `ValueError` where an audit cannot be done."""
    for one in audits:
        one.check(subjects, bench)
    networks = [piece for one in audits for subject in subjects for piece in one.networks(subject, bench)]
    networks = list({(piece.folder, piece.key): piece for piece in networks}.values())  # audits share them
    return Work(networks, {(one.name, subject): one.pieces(subject, bench) for one in audits for subject in subjects})


def measure_all(
    audits: Sequence[Audit], subjects: Sequence[Subject], bench: Bench, progress: Progress
) -> list[Measure]:
    """What all audits find: everything is planned, then networks are trained, then it is measured."""
    work = list_work(audits, subjects, bench)
    announce([*work.networks, *work.pieces])
    run_pieces(work.networks, called="networks", device=bench.device, progress=progress)
    made = iter(run_pieces(work.pieces, called="measurements", device=bench.device, progress=progress))
    found = {key: [next(made) for _ in own] for key, own in work.measurements.items()}
    measures: list[Measure] = []
    for one in audits:
        measures += one.measures({subject: found[one.name, subject] for subject in subjects}, bench)
    return [replace(one, data=bench.task.name) for one in measures]


def announce(pieces: Sequence[Piece]) -> None:
    """Tell ledgers and the log what is to be done."""
    left = [piece for piece in pieces if piece.find() is None]
    note_plan(left, [])
    kept, cost = len(pieces) - len(left), sum(piece.cost for piece in left) / 1e12
    told = f"pieces of work that are kept: {kept}; to do now: {len(left)} ({cost:.3g} TFLOP)"
    logging.getLogger("attar").warning(told)


def condense_again(engine: dict[str, Any], made: CondensedSet, task: Task, seed: int) -> CondensedSet:
    """Other data, condensed as the set was: by its method, with its hyper-parameters and its budget."""
    about = made.provenance
    return condense(task, about["method"], made.ipc, seed=seed, **engine, **about["hyperparameters"])
