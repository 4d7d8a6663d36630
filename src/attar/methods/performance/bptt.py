"""BPTT: back-propagation through the whole training of a student (Feng et al., ICLR 2024, their baseline).

Needs nothing trained. Each update trains a student from its start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._seen import see
from attar.methods._unrolled import Learner
from attar.methods.performance._exam import JUDGED, Exam, Scores
from attar.synthesis.clipping import Clip
from attar.synthesis.loop import optimise
from attar.synthesis.pixels import Init, Pixels
from attar.training.train import Adam

Judge = Callable[[Scores, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class BPTT:
    """A student that makes `steps` steps of Adam (`lr_net`) on the images has a small loss on real ones.

    `batch_syn` images make a step, or all where it is 0; the authors take as many of each class. The student is judged
    by `batch_real` real images of each class, at most as many as there are. The authors draw 5000 from all classes
    together. `augment` is applied to each image of both sides. The gradient in the images is clipped at twice its
    usual norm. Images that start from noise have the norm 1. `learn_labels` learns labels of at least 0, too. With
    `zca` networks see whitened images. The authors ask for 60,000 epochs of ten updates; 1200 suffice, they say.
    """

    updates: int = 12_000
    steps: int = 200
    lr: float = 1e-3
    lr_net: float = 1e-3
    batch_syn: int = 0
    batch_real: int = 500
    learn_labels: bool = False
    init: Init = "noise"
    zca: bool = True
    augment: str = "flip_rotate"
    separable: ClassVar[bool] = False  # a student learns from the images of all classes, and the clipping joins them
    passes: ClassVar[int] = JUDGED  # of a real image in an update

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        window, task = self.differentiated(), see(task, self.zca)
        syn = Pixels.start(task, ipc, run, init=self.init, learn_labels=self.learn_labels)
        if self.init == "noise":
            syn.put_(syn.images / syn.images.flatten(2).norm(dim=2)[..., None, None, None])
        given = self.updates * (self.steps - window) // 2  # on average
        student = Learner.of(
            task,
            syn,
            run,
            Adam(),
            steps=self.updates * window + given,
            given=given,
            batch=self.batch_syn,
            augment=self.augment,
        )
        exam = Exam.of(task, run, batch=self.batch_real, passes=self.updates * self.passes, augment=self.augment)
        judge, clip = self.judge(exam, run), Clip().to(task.device)
        lr = torch.tensor(self.lr_net, device=task.device)

        def episode(syn, rng):
            keep_positive(syn)  # the step before may have left that
            (x, y), questions = syn(), exam.draw(rng.fold("real"))
            skip = int(torch.randint(self.steps - window + 1, (), generator=rng.fold("window").generator()))
            start, total = task.network.init(rng.fold("network")), skip + window

            def outer(w):
                return judge(exam.scores(w), *questions)

            yield [clip(student.learn(outer, start, x, y, lr, total, rng, skip=skip), x)]

        opt = torch.optim.Adam(syn.parameters(), lr=self.lr)
        keep_positive(optimise(episode, syn, opt, updates=self.updates, run=run, state=clip))
        return syn.export()

    def differentiated(self) -> int:
        """The steps at the end of a student's training that are differentiated: all of them."""
        return self.steps

    def judge(self, exam: Exam, run: Run) -> Judge:
        """What is made small: the loss on real images of a network that gives such scores."""
        return lambda scores, x, y: F.cross_entropy(scores(x), y)


@torch.no_grad()
def keep_positive(syn: Pixels) -> None:
    """Put learned labels back on what is at least 0."""
    if syn.labels is not None:
        syn.labels.clamp_(min=0)
