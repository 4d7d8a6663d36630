"""DATM: difficulty-aligned trajectory matching (Guo et al., ICLR 2024).

Needs FTD's experts first. Learns soft labels with the images.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.methods.trajectory._settings import Settings
from attar.methods.trajectory._student import Rate, Stretch, see
from attar.networks.weights import Weights, unflatten
from attar.rng import Rng
from attar.synthesis.loop import optimise
from attar.synthesis.pixels import Pixels
from attar.training.flatness import Flatness
from attar.training.trajectories import Experts, Trajectory

PATIENCE = 100  # stretches in a row that are too hard
LOOKED = 256  # real images of a class, among which those are found that experts know


@dataclass(frozen=True, kw_only=True)
class DATM(Settings):
    """Students follow experts where it is as hard as the budget allows, and labels are learned.

    Starts are the epochs from `earliest` on; their end grows from `first` to `latest` over `grow` updates, or is
    `latest` at once where that is 0. A stretch whose distance is above `skip` is passed over and another one drawn.
    The authors count those as updates too. Labels are the softmax of what is learned, with `lr_label` and a momentum of
    0.9. Images start as real ones that some expert classifies correctly, and labels as what these experts make of them.
    Experts are as in `ftd`.
    """

    updates: int = 10_000
    earliest: int = 0
    first: int = 0
    latest: int = 4
    grow: int = 0
    steps: int = 80
    lr_label: float = 5.0
    skip: float = 1.1
    rho: float = 0.01
    alpha: float = 0.3

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        task = see(task, self.zca)
        paths, rate = self.plan_experts().load(task, run), Rate(self.step_size).to(task.device)
        syn = Pixels.start(task, ipc, run, space="normalised")
        known, scores = find_known(task, paths, ipc, run)
        labels = Labels(scores.flatten(0, 1))
        syn.put_(task.images(known))
        student = self.make_student(task, syn, run)

        def episode(syn, rng):
            starts = range(self.earliest, self.end(int(labels.updates)))
            for trial in range(PATIENCE):
                own = rng.fold("trial", trial)
                stretch = Stretch.draw(paths, starts, self.ahead, own.fold("expert"))
                miss = student.miss(stretch, syn()[0], labels(), rate.value(), own)
                if not miss > self.skip:  # what is no number is the loop's to name
                    labels.updates += 1
                    yield [miss]
                    return
            raise ValueError(
                f"{PATIENCE} stretches in a row had a distance above skip={self.skip:g}: a larger one helps"
            )

        opt = self.make_optimiser(syn, rate, (labels.scores, self.lr_label))
        opt.param_groups[-1]["momentum"] = 0.9
        state = nn.ModuleDict({"rate": rate, "labels": labels})
        made = optimise(episode, syn, opt, updates=self.updates, run=run, state=state).export()
        return dataclasses.replace(made, step_size=rate.value().item(), soft=labels().detach().cpu())

    def end(self, done: int) -> int:
        """The first epoch that is no start yet, after so many updates."""
        grown = self.first + (self.latest - self.first) * done // self.grow if done < self.grow else self.latest
        return max(self.earliest + 1, grown)

    def plan_experts(self) -> Experts:
        if self.first > self.latest:
            raise ValueError(f"first must be at most latest={self.latest}, not {self.first}")
        last = max(self.latest, self.earliest + 1) - 1
        return Experts(self.experts, last + self.ahead, Flatness(self.rho, self.alpha))


class Labels(nn.Module):
    """Scores whose softmax is the label of each image; and the updates so far, by which starts grow."""

    updates: Tensor

    def __init__(self, scores: Float[Tensor, "n k"]):
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self) -> Float[Tensor, "n k"]:
        return self.scores.softmax(1)


@torch.no_grad()
def find_known(
    task: Task, paths: Sequence[Trajectory], ipc: int, run: Run
) -> tuple[Int[Tensor, "k ipc"], Float[Tensor, "k ipc classes"]]:
    """Training images that some trained expert classifies correctly, and the mean scores that these experts give them.

    In the order of a random draw of each class. One with too few that are known is filled from those that are not.
    """
    everyone, network = range(len(task.classes)), task.network
    rows = task.indices(everyone, min(max(LOOKED, ipc), int(task.counts.max())), run.rng.fold("known"))
    x, fresh = task.images(rows).flatten(0, 1), network.init(Rng.of(0))
    shapes = {name: p.shape for name, p in fresh.params.items()}
    engine, scores = run.engine(network.scores, len(paths) * len(x) * network.flop(task.shape)), []
    for path in paths:
        w = Weights(unflatten(path[-1].to(x.dtype), shapes), fresh.buffers)
        if network.keeps_statistics:
            w = Weights(w.params, network.statistics(w, x))
        scores.append(map_slices(partial(engine, w), x, run.slice_size(len(x))))
    every = torch.stack(scores).unflatten(1, rows.shape)  # (experts, k, n, classes)
    right = (every.argmax(3) == torch.arange(len(task.classes), device=x.device)[:, None]).float()
    mean = (every * right[..., None]).sum(0) / right.sum(0)[..., None].clamp_min(1)
    mean = torch.where(right.any(0)[..., None], mean, every.mean(0))  # of one that none knows, what all make of it
    order = right.any(0).int().argsort(dim=1, descending=True, stable=True)[:, :ipc]
    return rows.gather(1, order), mean.gather(1, order[..., None].expand(-1, -1, mean.shape[2]))
