"""Choosing real images by where they lie in a feature space, class by class."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.training.pretrained import train_whole

FeatureSpace = Literal["pixels", "random", "trained", "encoder"]
Select = Callable[[Float[Tensor, "n d"], int], Int[Tensor, " ipc"]]


def select(task: Task, ipc: int, run: Run, space: FeatureSpace, epochs: int, rule: Select) -> CondensedSet:
    """`rule` picks `ipc` rows among the features of each class.

    Raises `ValueError` where a class has too few images.
    """
    classes = run.shard(len(task.classes))
    task.need(classes, ipc)
    embed = make_embedding(task, run, space, epochs)
    picked = []
    for c in classes:
        members = task.table[c, : int(task.counts[c])]
        picked.append(members[rule(embed(members), ipc)])
    return CondensedSet.selected(task, torch.stack(picked))


def make_embedding(
    task: Task, run: Run, space: FeatureSpace, epochs: int
) -> Callable[[Int[Tensor, " n"]], Float[Tensor, "n d"]]:
    """Features of training images by index: `pixels`, or those of a network.

    It is unlearned (`random`), `trained` on all of them, or the task's own `encoder`, which must be there.
    """
    if space == "pixels":
        return lambda members: task.images(members).flatten(1)
    network, n, at_once = task.network, len(task.train.y), 1024
    flop, features = n * network.flop(task.shape), cast(Callable[..., Tensor], network.features)
    if space == "encoder":
        if task.encoder is None:
            raise ValueError("features=encoder needs an encoder: --encoder NAME, or task.with_encoder(NAME)")
        # Fewer at once: its images are often enlarged.
        w, features, flop, at_once = task.encoder.weights, task.encoder.features, n * task.encoder.flop, 64
    elif space == "random":
        w, features = network.init(run.rng.fold("network")), partial(network.features, train=True)
    else:
        w = train_whole(task, run, epochs)
    prepared, done = run.engine(features, flop), 0
    # An unlearned network with batch statistics takes them from the slice, which must not depend on the machine.
    size = 256 if space == "random" and network.keeps_statistics else run.slice_size(at_once)

    @torch.no_grad()
    def embed(members: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        nonlocal done
        parts = []
        with run.rng.fold("network's own").scope(run.device):  # dropout takes no generator
            for part in members.split(at_once):
                parts.append(map_slices(partial(prepared, w), task.images(part), size))
                run.progress(done := done + len(part), n, math.nan)
        return torch.cat(parts)

    return embed
