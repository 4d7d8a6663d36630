"""Networks trained on the whole set: what takes long and methods share, computed once and kept on disk."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.engine.structures import map_tensors
from attar.files import cache_folder, check_cache, keep, read_tensors
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.training.fit import fit
from attar.training.protocol import DSA, IDC, Protocol

EARLY = 1, 5  # epochs after which the weights of networks that methods share are kept too
VERSION = 2  # of how networks are trained: with another, those in the cache are not taken


class Stage(NamedTuple):
    """Networks that a method trains before its first update, as a plan counts them."""

    missing: int
    """How many of them the cache does not hold."""
    flop: int
    """Floating-point operations of training one."""


def train_whole(task: Task, run: Run, epochs: int) -> Weights:
    """Weights of `task.network` trained on the whole training set with DSA: another network for another seed."""
    protocol = suited(task, Protocol("whole", "training on the whole set", epochs, 256, "half", DSA))
    return load_or_train(task, run, protocol, run.rng.fold("trained"), [epochs])[0]


def pretrain(task: Task, run: Run, count: int, epochs: int) -> list[tuple[Weights, Weights]]:
    """`count` networks before and after training on the whole set.

    They learn in batches of 256, with IDC's augmentation and CutMix. They do not depend on the run's seed: runs,
    methods and budgets share them. What is not in the cache is announced with its cost.
    """
    rngs = list(map(network_rng, range(count)))
    starts = [task.network.init(rng.fold("network")) for rng in rngs]
    if not epochs:
        return list(zip(starts, starts, strict=True))
    announce(task, run, pretraining_left(task, run, count, epochs), epochs)
    protocol, early = pretraining_protocol(task, epochs), early_ages(epochs)
    ends = [load_or_train(task, run, protocol, rng, [epochs], early)[0] for rng in rngs]
    return list(zip(starts, ends, strict=True))


def pretrain_early(task: Task, run: Run, count: int, epochs: int) -> list[Weights]:
    """The weights of such networks after their first epochs (`EARLY`), those of each one after another."""
    if not epochs:
        return [start for start, _ in pretrain(task, run, count, epochs)]
    protocol, ages = pretraining_protocol(task, epochs), early_ages(epochs)
    announce(task, run, pretraining_left(task, run, count, epochs, ages), epochs)
    return [w for i in range(count) for w in load_or_train(task, run, protocol, network_rng(i), ages)]


def early_ages(epochs: int) -> list[int]:
    """Those of `EARLY` that so long a training has."""
    return [age for age in EARLY if age <= epochs]


def announce(task: Task, run: Run, stage: "Stage", epochs: int) -> None:
    if stage.missing and not run.rehearsal:
        kept = f"; later runs find them in {cache_folder()}" if task.network.key else ""
        cost = f"{stage.missing * stage.flop / 1e12:.3g} TFLOP"
        logging.getLogger("attar").warning(
            f"networks to train first: {stage.missing}, epochs each: {epochs} ({cost}){kept}"
        )


def pretraining_left(task: Task, run: Run, count: int, epochs: int, ages: Sequence[int] = ()) -> Stage:
    """What is still to be trained for the weights after so many epochs each, by default the last."""
    if not epochs:
        return Stage(0, 0)
    protocol = pretraining_protocol(task, epochs)
    paths = [
        [cache_path(identify(task, run, protocol, network_rng(i), age)) for age in ages or [epochs]]
        for i in range(count)
    ]
    # A user's network without a key could be another one under the same name: it is never taken from the cache.
    missing = sum(not (task.network.key and all(path.exists() for path in own)) for own in paths)
    return Stage(missing, training_flop(task, protocol))


def draw_between(pairs: Sequence[tuple[Weights, Weights]], rng: Rng) -> tuple[Weights, Weights]:
    """A network somewhere between the start and the end of its training, uniformly; and the trained one."""
    generator = rng.generator()
    start, end = pairs[int(torch.randint(len(pairs), (), generator=generator))]
    return start.between(end, torch.rand((), generator=generator).item()), end


@torch.no_grad()
def soft_labels(task: Task, run: Run, networks: Sequence[Weights], x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """Probabilities of the classes of network-ready images: the mean over `networks`."""
    scores = run.engine(task.network.scores, len(networks) * len(x) * task.network.flop(task.shape))
    return torch.stack([map_slices(partial(scores, w), x, run.slice_size(len(x))).softmax(1) for w in networks]).mean(0)


def pretraining_protocol(task: Task, epochs: int) -> Protocol:
    return suited(task, Protocol("pretrained", "networks that methods share", epochs, 256, "thirds", IDC, cutmix=0.5))


def suited(task: Task, protocol: Protocol) -> Protocol:
    """The protocol as it suits the task: rows of a table are not augmented."""
    return protocol if task.columns is None else protocol.plain()


def network_rng(i: int) -> Rng:
    return Rng(("pretrained", i))


def identify(task: Task, run: Run, protocol: Protocol, rng: Rng, age: int) -> str:
    """All that the bits of a network depend on that is `age` epochs old."""
    # Compiled and eager networks, and those of other numbers of threads, differ in their last bits.
    compiled = run.compiles(training_flop(task, protocol))
    engine = run.device.type, run.precision, compiled, torch.get_num_threads(), torch.__version__
    data = task.fingerprint, *task.normalisation.identity, task.flip
    young = () if age == protocol.epochs else (age,)
    return repr((VERSION, data, engine, task.network.key, protocol, rng.path, *young))


def training_flop(task: Task, protocol: Protocol) -> int:
    """Floating-point operations of training a network on the whole training set."""
    n = len(task.train.y)
    return TRAINING * protocol.length(n) * n * task.network.flop(task.shape)


def cache_path(what: str) -> Path:
    digest = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
    return cache_folder() / "stages" / f"{digest}.safetensors"


def load_or_train(
    task: Task, run: Run, protocol: Protocol, rng: Rng, ages: Sequence[int], also: Sequence[int] = ()
) -> list[Weights]:
    """A network's weights after so many epochs each, from the cache where all lie there already.

    Where they do not, the network is trained to its end. The cache then has that too, and those `also` to be kept.
    """
    try:
        if task.network.key and all(cache_path(identify(task, run, protocol, rng, age)).exists() for age in ages):
            return load_network(task, run, [identify(task, run, protocol, rng, age) for age in ages])
    except (ValueError, OSError) as error:
        logging.getLogger("attar").warning(f"{error}: this network is trained anew")
    kept = bool(task.network.key) and not run.rehearsal
    if kept:
        check_cache()
    start = time.perf_counter()
    done, total = 0, protocol.updates(len(task.train.y))
    found: dict[int, Weights] = {}

    def tick(networks: list[Weights]) -> None:
        nonlocal done
        done += 1
        age, rest = divmod(done * protocol.epochs, total)
        if rest == 0 and age in (*ages, *also):
            found[age] = map_tensors(networks[0], lambda tensor: tensor.detach().clone())
        run.progress(done, total, math.nan)

    x = task.normalise(task.train.x.to(task.device))
    found[protocol.epochs] = fit(task.network, x, task.train.y, protocol, rng, run, flip=task.flip, tick=tick)
    for age, w in found.items() if kept else ():
        what = identify(task, run, protocol, rng, age)
        keep(cache_path(what), w.named(), {"what": what, "seconds": time.perf_counter() - start})
    return [found[age] for age in ages]


def load_network(task: Task, run: Run, whats: Sequence[str]) -> list[Weights]:
    """The weights of one network, of some ages. Raises `ValueError` where a file is damaged, or of another network."""
    found = []
    for what in whats:
        path = cache_path(what)
        tensors, meta = read_tensors(path)
        if meta.get("what") != what:
            raise ValueError(f"{path} holds another network")
        found.append(Weights.of(tensors, task.device))
    # As if it had been trained here: a method's seconds do not depend on who ran before.
    run.ledger.cached_seconds.append(meta["seconds"])
    return found
