"""Choosing real images by where they lie in a feature space, class by class."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.training.pretrained import train_whole

FeatureSpace = Literal["pixels", "random", "trained"]
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
    """Features of training images by index: `pixels`, or the last layer of a network, unlearned or trained on all."""
    if space == "pixels":
        return lambda members: task.images(members).flatten(1)
    network, flop = task.network, len(task.train.y) * task.network.flop(task.shape)
    if space == "random":
        w, features = network.init(run.rng.fold("network")), run.engine(partial(network.features, train=True), flop)
    else:
        w, features = train_whole(task, run, epochs), run.engine(network.features, flop)
    # An unlearned network with batch statistics takes them from the slice, which must not depend on the machine.
    size = 256 if network.keeps_statistics else run.slice_size(1024)

    @torch.no_grad()
    def embed(members: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        parts = members.split(1024)
        with run.rng.fold("network's own").scope(run.device):  # dropout takes no generator
            return torch.cat([map_slices(lambda x: features(w, x), task.images(part), size) for part in parts])

    return embed
