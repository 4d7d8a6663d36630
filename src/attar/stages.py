"""What methods share and what takes long: computed once, kept on disk."""

import hashlib
import math
import time
from pathlib import Path

import torch

from attar.data import cache_folder
from attar.files import read_tensors, write_tensors
from attar.fit import fit
from attar.network import Weights
from attar.protocol import DSA, Protocol
from attar.run import Run
from attar.task import Task


def trained(task: Task, run: Run, epochs: int) -> Weights:
    """Weights of `task.network` trained on the whole training set with DSA, from the cache where they lie there already."""
    protocol = Protocol("whole", "training on the whole set", epochs, 256, "half", DSA)
    rng = run.rng.fold("trained")
    data, engine = (
        (task.fingerprint, task.mean, task.std, task.flip),
        (run.device.type, run.precision, run.compile, torch.get_num_threads(), torch.__version__),
    )
    identity = repr((data, engine, task.network.key, protocol, rng.path))
    path = cache_folder() / "stages" / f"{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}.safetensors"
    if task.network.key and path.exists():
        try:
            return unpack(path, task, run)
        except ValueError:
            path.unlink()  # damaged: made anew below
    start = time.perf_counter()
    done, total = 0, protocol.updates(len(task.train.y))

    def tick() -> None:
        nonlocal done
        done += 1
        run.progress(done, total, math.nan)

    w = fit(task.network, task.normalise(task.train.x), task.train.y, protocol, rng, run, flip=task.flip, tick=tick)
    if task.network.key:
        tensors = {f"{part}.{name}": t for part, group in w._asdict().items() for name, t in group.items()}
        write_tensors(path, tensors, {"what": identity, "seconds": time.perf_counter() - start})
    return w


def unpack(path: Path, task: Task, run: Run) -> Weights:
    tensors, meta = read_tensors(path)
    parts: dict[str, dict] = {"params": {}, "buffers": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.to(task.device)
    run.cached_seconds.append(meta["seconds"])
    return Weights(**parts)
