"""What methods share and what takes long: computed once, kept on disk."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data import cache_folder
from attar.files import read_tensors, write_tensors
from attar.fit import TRAINING, fit
from attar.network import Weights
from attar.protocol import DSA, IDC, Protocol
from attar.rng import Rng
from attar.run import Run, sliced
from attar.task import Task

VERSION = 2  # of how networks are trained: with another, those in the cache are not taken


def trained(task: Task, run: Run, epochs: int) -> Weights:
    """Weights of `task.network` trained on the whole training set with DSA: another network for another seed."""
    return cached(task, run, Protocol("whole", "training on the whole set", epochs, 256, "half", DSA), run.rng.fold("trained"))


def pretrained(task: Task, run: Run, count: int, epochs: int) -> list[tuple[Weights, Weights]]:
    """`count` networks before and after training on the whole set in batches of 256, with IDC's augmentation and CutMix.

    They do not depend on the run's seed: runs, methods and budgets share them. What is not in the cache is announced with its cost.
    """
    missing, flop = lacking(task, run, count, epochs)
    if missing and not run.rehearsal:
        kept = f"; runs to come find them in {cache_folder()}" if task.network.key else ""
        logging.getLogger("attar").warning(
            f"networks to train first: {missing}, epochs of each: {epochs} ({missing * flop / 1e12:.3g} TFLOP){kept}"
        )
    return [(task.network.init(rng.fold("network")), cached(task, run, pretraining(epochs), rng)) for rng in map(network_rng, range(count))]


def lacking(task: Task, run: Run, count: int, epochs: int) -> tuple[int, int]:
    """How many of the networks that `pretrained` gives are not in the cache, and the floating-point operations of training one."""
    paths = [cache_path(identity(task, run, pretraining(epochs), network_rng(i))) for i in range(count)]
    missing = sum(not (task.network.key and path.exists()) for path in paths)
    return missing, cost(task, pretraining(epochs))


@torch.no_grad()
def opinion(task: Task, run: Run, networks: Sequence[Weights], x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """Probabilities of the classes of network-ready images: the mean over `networks`."""
    scores = run.engine(task.network.scores, len(networks) * len(x) * task.network.flop(task.shape))
    return torch.stack([sliced(partial(scores, w), x, run.slice_size(len(x))).softmax(1) for w in networks]).mean(0)


def pretraining(epochs: int) -> Protocol:
    return Protocol("pretrained", "networks that methods share", epochs, 256, "thirds", IDC, cutmix=0.5)


def network_rng(i: int) -> Rng:
    return Rng(("pretrained", i))


def identity(task: Task, run: Run, protocol: Protocol, rng: Rng) -> str:
    """All that the bits of a network depend on."""
    data, engine = (
        (task.fingerprint, task.mean, task.std, task.flip),
        (run.device.type, run.precision, run.compiles(cost(task, protocol)), torch.get_num_threads(), torch.__version__),
    )
    return repr((VERSION, data, engine, task.network.key, protocol, rng.path))


def cost(task: Task, protocol: Protocol) -> int:
    """Floating-point operations of training a network on the whole training set."""
    return TRAINING * protocol.length(len(task.train.y)) * len(task.train.y) * task.network.flop(task.shape)


def cache_path(what: str) -> Path:
    return cache_folder() / "stages" / f"{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}.safetensors"


def cached(task: Task, run: Run, protocol: Protocol, rng: Rng) -> Weights:
    """A network trained on the whole training set, from the cache where it lies there already."""
    what = identity(task, run, protocol, rng)
    path = cache_path(what)
    if task.network.key and path.exists():
        try:
            return unpack(path, task, run)
        except ValueError:
            path.unlink(missing_ok=True)  # damaged: made anew below
    start = time.perf_counter()
    done, total = 0, protocol.updates(len(task.train.y))

    def tick(_: list[Weights]) -> None:
        nonlocal done
        done += 1
        run.progress(done, total, math.nan)

    w = fit(task.network, task.normalise(task.train.x.to(task.device)), task.train.y, protocol, rng, run, flip=task.flip, tick=tick)
    if task.network.key and not run.rehearsal:
        tensors = {f"{part}.{name}": t for part, group in w._asdict().items() for name, t in group.items()}
        try:
            write_tensors(path, tensors, {"what": what, "seconds": time.perf_counter() - start})
        except OSError as error:
            logging.getLogger("attar").warning(f"a trained network cannot be kept for other runs (ATTAR_CACHE says where): {error}")
    return w


def unpack(path: Path, task: Task, run: Run) -> Weights:
    tensors, meta = read_tensors(path)
    parts: dict[str, dict] = {"params": {}, "buffers": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.to(task.device)
    run.cached_seconds.append(meta["seconds"])
    return Weights(**parts)
