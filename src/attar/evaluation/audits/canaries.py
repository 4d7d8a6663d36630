"""Canaries: mislabelled training images, half of which are among those that each run condenses from.

What a set tells of an image is worst where the image does not fit: nothing else teaches a network its label
(Aerni et al., CCS 2024; arXiv 2404.17399).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Examples, Task
from attar.engine.device import use_device
from attar.engine.piece import Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.evaluation.audits.frame import Found
from attar.evaluation.audits.membership import scaled_confidence
from attar.files import hash_tensors, read_tensors, write_tensors
from attar.rng import Rng
from attar.training.fit import fit
from attar.training.protocol import Protocol

Condense = Callable[[CondensedSet, Task, int], CondensedSet]
POPULATION = 10_000  # test images at most: a canary above all of them is then rarer than one in a thousand
SIZE = 1000  # images that pass a network at once
DIGITS = 6  # of a logit that are kept


class Canaries(NamedTuple):
    """Training images, of which the first are canaries with their wrong labels; and test images for a population."""

    path: Path
    hash: str
    member: Bool[Tensor, "runs canaries"]
    """Which of the canaries each run holds: every one is in half of the runs."""


def place_canaries(task: Task, images: int, canaries: int, runs: int, rng: Rng, path: Path) -> Canaries:
    """`images` random training images, of which `canaries` get a random wrong label, in a file.

    Test images, which no run holds, get a wrong label too: the population.
    """
    rows = torch.randperm(len(task.train.y), generator=rng.fold("images").generator())[:images]
    x, y = task.raw(rows.to(task.device)).cpu(), task.train.y.cpu()[rows]
    y[:canaries] = mislabel(y[:canaries], len(task.classes), rng.fold("labels"))
    others = torch.randperm(len(task.test.y), generator=rng.fold("population").generator())[:POPULATION]
    z, truth = task.test.x.cpu()[others], task.test.y.cpu()[others]
    tensors = {"x": x, "y": y, "z": z, "truth": truth}
    tensors["wrong"] = mislabel(truth, len(task.classes), rng.fold("population's labels"))
    member = assign_runs(runs, canaries, rng.fold("runs"))
    write_tensors(path, tensors, {})
    return Canaries(path, hash_tensors(tensors, ""), member)


def mislabel(y: Int[Tensor, " n"], classes: int, rng: Rng) -> Int[Tensor, " n"]:
    """Another label for each, all others alike."""
    return (y + torch.randint(1, classes, y.shape, generator=rng.generator())) % classes


def assign_runs(runs: int, canaries: int, rng: Rng) -> Bool[Tensor, "runs canaries"]:
    """Every canary in exactly half of the runs."""
    return torch.rand(runs, canaries, generator=rng.generator()).argsort(0) < runs // 2


def look_at(
    condense: Condense,
    made: CondensedSet,
    bare: Task,
    placed: Path,
    member: Bool[Tensor, " canaries"],
    protocol: Protocol,
    seed: int,
    run: Run,
    tick: Tick,
) -> Found:
    """What the run of that seed says of all canaries: a network, trained on what is condensed from what the run holds.

    `bare` is the data without its images, which lie in the file `placed`.
    """
    tensors, _ = read_tensors(placed)
    held = torch.cat([member, torch.ones(len(tensors["y"]) - len(member), dtype=torch.bool)])
    train, test = Examples(tensors["x"][held], tensors["y"][held]), Examples(tensors["z"], tensors["truth"])
    task = replace(bare, train=train, test=test).to(run.device)
    x, y = condense(made, task, seed).renormalised(task.normalisation.plain).as_dataset().tensors
    tick()
    rng = Rng(("audit", "private", seed))
    with use_precision(run.precision), use_device(run.device):
        x, y = x.to(run.device), y.to(run.device)
        w = fit(task.network, x, y, protocol, rng, run, flip=task.flip)
        scores = partial(run.engine(task.network.scores, 0), w)

        def judge(images: Tensor) -> Tensor:
            parts = (task.normalise(part.to(run.device)) for part in images.split(SIZE))
            return torch.cat([map_slices(scores, part, run.slice_size(SIZE)).cpu() for part in parts])

        canaries, others = judge(tensors["x"][: len(member)]), judge(tensors["z"])
    return {
        "canaries": shorten(scaled_confidence(canaries, tensors["y"][: len(member)])),
        "population": shorten(scaled_confidence(others, tensors["wrong"])),
        "accuracy": 100 * (others.argmax(1) == tensors["truth"]).double().mean().item(),
    }


def shorten(phi: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in phi.tolist()]
