"""Networks that methods train before their first update: each a piece of work, which the cache keeps for other runs."""

import hashlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attar.data.task import Examples, Task
from attar.engine.device import threads, use_device, use_threads
from attar.engine.ledger import LEDGER
from attar.engine.piece import Piece, Tick
from attar.engine.pieces import ProcessKilled, run_pieces
from attar.engine.precision import use_precision
from attar.engine.run import Ledger, Run, silent
from attar.engine.staging import Part, read_part, staging_folder, write_part
from attar.files import cache_folder, check_cache, lock_cache, read_tensors, say_unkept, write_tensors
from attar.locks import lock_writer
from attar.rng import Rng
from attar.wording import size

Tensors = dict[str, Tensor]
Train = Callable[[Task, Run, Tick], dict[str, Tensors]]


class Stage(NamedTuple):
    """Networks that a method trains before its first update, as a plan counts them."""

    missing: int
    """How many of them the cache does not hold."""
    flop: int
    """Floating-point operations of training one."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """A network that is wanted, as one file or several."""

    name: str
    """For a reader."""
    seed: int
    files: tuple[str, ...]
    """All that the bits of each file depend on."""
    training: str
    """The same of its training, whichever of its files are wanted."""
    train: Train
    """Trains it, with a tick after each step. Gives the tensors of all files that are to be kept."""


class Job(NamedTuple):
    """What a process needs to train networks. Their data lies in a file, which processes share."""

    task: Task
    """Without its examples."""
    data: Part
    run: Run
    threads: int


@dataclass(frozen=True, eq=False)
class Cohort:
    """Networks that are trained alike on the whole set."""

    task: Task
    run: Run
    called: str
    """What a reader calls one of them."""
    folder: str
    """That of the cache."""
    wanted: Sequence[Wanted]
    epochs: int
    steps: int
    """How often the training of one ticks."""
    flop: int
    """Floating-point operations of training one."""
    disk: int
    """Bytes that one takes there, for each of its parameters."""

    @property
    def home(self) -> Path:
        return cache_folder() / self.folder

    def stage(self) -> Stage:
        return Stage(sum(not self.is_kept(one) for one in self.wanted), self.flop)

    def is_kept(self, one: Wanted) -> bool:
        # A user's network without a key could be another one under the same name: it is never taken from the cache.
        return bool(self.task.network.key) and all(locate(self.home, what).exists() for what in one.files)

    def announce(self) -> None:
        """Say what is still to be trained, and what that costs."""
        missing = self.stage().missing
        if missing and not self.run.rehearsal:
            params = sum(p.numel() for p in self.task.network.init(Rng.of(0)).params.values())
            took = size(missing * self.disk * params)
            kept = f"; later runs find them in {cache_folder()} ({took})" if self.task.network.key else ""
            cost = f"{missing * self.flop / 1e12:.3g} TFLOP"
            told = f"{self.called}s to train first: {missing}, epochs each: {self.epochs} ({cost}){kept}"
            logging.getLogger("attar").warning(told)

    def load(self) -> list[list[Tensors]]:
        """The tensors in the files of each. What the cache lacks is made, several at once where that pays.

        A rehearsal keeps nothing. It trains here, one after another, by all threads.
        """
        found = [self.take(one) for one in self.wanted]
        left = [one for one, own in zip(self.wanted, found, strict=True) if own is None]
        made = iter(map(self.rehearse, left) if self.run.rehearsal else self.make(left) if left else ())
        return [next(made) if own is None else own for own in found]

    def take(self, one: Wanted) -> list[Tensors] | None:
        """From the cache, where it is there whole. A file that is damaged, or another's, is said."""
        if not self.is_kept(one):
            return None
        try:
            found, seconds = self.read(one, [locate(self.home, what) for what in one.files])
        except (ValueError, OSError) as error:
            logging.getLogger("attar").warning(f"{error}: this {self.called} is trained anew")
            return None
        # As if it had been trained here, with others at once: a method's seconds do not depend on who ran before.
        at_once = min(threads(self.run.device), len(self.wanted))
        self.run.ledger.cached_seconds.append(seconds / at_once)
        return found

    def read(self, one: Wanted, paths: Sequence[Path]) -> tuple[list[Tensors], float]:
        """The tensors of its files, and the seconds that training took.

        Raises `ValueError` where a file is damaged, or of another network.
        """
        found, seconds = [], 0.0
        for path, what in zip(paths, one.files, strict=True):
            tensors, meta = read_tensors(path)
            if meta.get("what") != what:
                raise ValueError(f"{path} holds another {self.called}")
            # Copies, as some systems remove no file that is mapped.
            found.append({name: tensor.to(self.task.device, copy=True) for name, tensor in tensors.items()})
            seconds = meta["seconds"]
        return found, seconds

    def rehearse(self, one: Wanted) -> list[Tensors]:
        done = itertools.count(1)
        made = one.train(self.task, self.run, lambda: self.run.progress(next(done), self.steps, math.nan))
        return [made[what] for what in one.files]

    def make(self, left: Sequence[Wanted]) -> list[list[Tensors]]:
        """Train what is left, each as a piece of work; in a passing folder where the cache cannot keep it."""
        kept = bool(self.task.network.key) and check_cache()
        with staging_folder() as passing:
            data = write_part(passing / "train.safetensors", self.task.train.x.cpu(), self.task.train.y.cpu())
            # A run of its own: the method's other functions are compiled for other numbers of threads.
            run = replace(self.run, folder=None, progress=silent, ledger=Ledger())
            job = Job(without_examples(self.task), data, run, count_threads(run, len(self.wanted)))
            try:  # of all that are wanted, so that the ledger has those too that were there before it
                paths = self.run_in([self.home], self.wanted, job) if kept else self.run_in([passing], left, job)
            except OSError as error:
                if not kept or isinstance(error, ProcessKilled):
                    raise
                say_unkept(error)  # such as a full disk: a run needs no cache
                paths = self.run_in([passing, self.home], left, job)
            return [self.read(one, paths[one])[0] for one in left]

    def run_in(self, homes: Sequence[Path], asked: Sequence[Wanted], job: Job) -> dict[Wanted, list[Path]]:
        """The files of each, which are found in one of `homes`, or made in the first."""
        what = [(one.training, one.name, one.seed, homes[0]) for one in asked]
        how = [(partial(make, job, one, homes[0]), partial(find, one.files, homes)) for one in asked]
        pieces = [Piece(*a, *b, self.flop, self.steps) for a, b in zip(what, how, strict=True)]
        called, device = f"{self.called}s", self.run.device
        made = run_pieces(pieces, called=called, device=device, progress=self.run.progress)
        return dict(zip(asked, made, strict=True))


def make(job: Job, one: Wanted, home: Path, tick: Tick) -> list[Path]:
    """Train the network and write its files."""
    start = time.perf_counter()
    with use_precision(job.run.precision), use_device(job.run.device), use_threads(job.threads):
        task = replace(job.task, train=Examples(*read_part(job.data, job.run.device)))
        made = one.train(task, job.run, tick)
    seconds = time.perf_counter() - start
    # Both: what killed writers left is swept, and none may be noting in the ledger meanwhile.
    with lock_writer(home / LEDGER), lock_cache(home):
        for what, tensors in made.items():
            write_tensors(locate(home, what), tensors, {"what": what, "seconds": seconds})
    return [locate(home, what) for what in one.files]


def find(files: Sequence[str], homes: Sequence[Path]) -> list[Path] | None:
    """Where the files are, if all of them are there whole."""
    found = [next((locate(home, what) for home in homes if is_whole(locate(home, what), what)), None) for what in files]
    paths = [path for path in found if path is not None]
    return paths if len(paths) == len(files) else None


def is_whole(path: Path, what: str) -> bool:
    """Whether it is there, undamaged, and holds that network."""
    with suppress(ValueError, OSError):
        return bool(read_tensors(path)[1].get("what") == what)
    return False


def locate(home: Path, what: str) -> Path:
    digest = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
    return home / f"{digest}.safetensors"


def without_examples(task: Task) -> Task:
    none = Examples(task.train.x[:0].cpu().clone(), task.train.y[:0].cpu().clone())
    return replace(task, train=none, test=none, encoder=None)


def count_threads(run: Run, networks: int) -> int:
    """In how many threads each of so many networks is trained, which decides its last bits.

    On a CPU one, where there are two networks or more: in processes or in turn, and however many are left of them. One
    network alone takes all threads of the run.
    """
    return 1 if run.device.type == "cpu" and networks > 1 else torch.get_num_threads()


def describe_engine(run: Run, flop: int, networks: int) -> tuple[str, str, bool, int]:
    """What the last bits of each of so many networks depend on, when training one takes so many operations."""
    own = count_threads(run, networks)
    with use_threads(own):  # as they decide whether to compile
        return run.device.type, run.precision, run.compiles(flop), own


def describe_data(task: Task) -> tuple[Any, ...]:
    return task.fingerprint, *task.normalisation.identity, task.flip
