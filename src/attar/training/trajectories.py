"""Experts: networks trained on the whole set, with the weights that they had after each epoch.

Computed once and kept on disk at half precision. Other runs, methods and budgets share them.
"""

import hashlib
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data.task import Task
from attar.engine.run import Run
from attar.files import cache_folder, check_cache, keep, read_tensors
from attar.networks.weights import TRAINING, flatten
from attar.rng import Rng
from attar.training.flatness import Flatness
from attar.training.pretrained import Stage
from attar.training.protocol import DSA, NONE
from attar.training.train import SGD, train
from attar.wording import size

VERSION = 1  # of how experts are trained: with another, those in the cache are not taken
Trajectory = Float[Tensor, "ages p"]


@dataclass(frozen=True)
class Experts:
    """How many there are, how they are trained, and for how long. No momentum, no decay: as their authors have it."""

    count: int
    epochs: int
    flat: Flatness | None = None
    lr: float = 0.01
    batch: int = 256

    def load(self, task: Task, run: Run) -> list[Trajectory]:
        """The parameters of each before its training and after every epoch, flat, in half precision.

        Those that the cache lacks are trained, one after another; what is there is whole, whatever interrupts.
        """
        self.announce(task, run)
        return [load_or_train(task, run, self, i) for i in range(self.count)]

    def stage(self, task: Task, run: Run) -> Stage:
        """How many are missing, and what one costs."""
        paths = [find_path(identify(task, run, self, i)) for i in range(self.count)]
        known = task.network.key is not None
        return Stage(sum(not (known and path.exists()) for path in paths), self.flop(task))

    def flop(self, task: Task) -> int:
        """Floating-point operations of training one."""
        passes = TRAINING * (1 if self.flat is None else 2)
        return passes * self.epochs * len(task.train.y) * task.network.flop(task.shape)

    def announce(self, task: Task, run: Run) -> None:
        missing, flop = self.stage(task, run)
        if missing and not run.rehearsal:
            params = sum(p.numel() for p in task.network.init(Rng.of(0)).params.values())
            took = size(missing * (self.epochs + 1) * params * 2)
            kept = f"; later runs find them in {cache_folder()} ({took})" if task.network.key else ""
            cost = f"{missing * flop / 1e12:.3g} TFLOP"
            told = f"experts to train first: {missing}, epochs each: {self.epochs} ({cost}){kept}"
            logging.getLogger("attar").warning(told)


def load_or_train(task: Task, run: Run, experts: Experts, i: int) -> Trajectory:
    """The i-th, from the cache where it lies there whole."""
    what = identify(task, run, experts, i)
    path, known = find_path(what), task.network.key is not None
    if known and path.exists():
        try:
            return read(path, what, run).to(task.device)
        except (ValueError, OSError) as error:
            logging.getLogger("attar").warning(f"{error}: this expert is trained anew")
    kept = known and not run.rehearsal
    if kept:
        check_cache()
    start = time.perf_counter()
    found = train_expert(task, run, experts, Rng(("expert", i)))
    if kept:
        keep(path, {"params": found}, {"what": what, "seconds": time.perf_counter() - start})
    return found


def train_expert(task: Task, run: Run, experts: Experts, rng: Rng) -> Trajectory:
    """Its parameters before training, and after each epoch: copies, which no later step changes."""
    x, y = task.normalise(task.train.x.to(task.device)), task.train.y
    augment = (DSA if task.flip else DSA.without_flip()) if task.columns is None else NONE
    options: dict[str, Any] = {"optimiser": SGD(experts.lr, 0.0, 0.0), "batch": experts.batch, "flat": experts.flat}
    run.announce(task.network.train_logits, experts.flop(task))
    w, state = task.network.init(rng.fold("network")), None
    ages = [flatten(w.params).half()]
    for epoch in range(experts.epochs):
        own = rng.fold("epoch", epoch)
        with own.fold("network's own").scope(task.device):  # dropout takes no generator
            w, state = train(task.network, w, x, y, epochs=1, rng=own, run=run, augment=augment, state=state, **options)
        ages.append(flatten(w.params).half())
        run.progress(epoch + 1, experts.epochs, math.nan)
    return torch.stack(ages)


def identify(task: Task, run: Run, experts: Experts, i: int) -> str:
    """All that the bits of an expert depend on."""
    engine = run.device.type, run.precision, run.compiles(experts.flop(task)), torch.get_num_threads()
    data = task.fingerprint, *task.normalisation.identity, task.flip
    recipe = experts.epochs, experts.flat, experts.lr, experts.batch
    return repr((VERSION, data, engine, torch.__version__, task.network.key, recipe, i))


def find_path(what: str) -> Path:
    digest = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
    return cache_folder() / "experts" / f"{digest}.safetensors"


def read(path: Path, what: str, run: Run) -> Trajectory:
    """Raises `ValueError` where the file is damaged, or of another expert."""
    tensors, meta = read_tensors(path)
    if meta.get("what") != what:
        raise ValueError(f"{path} holds another expert")
    run.ledger.cached_seconds.append(meta["seconds"])
    return tensors["params"]
