"""DC: dataset condensation with gradient matching (Zhao et al., ICLR 2021).

Needs nothing trained; its networks learn along the way. CIFAR-10 on one core: 15 min at one image a class.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.gradients import cosine
from attar.engine.run import Run
from attar.methods.gradient._match import Match
from attar.methods.gradient._settings import Settings
from attar.networks.weights import TRAINING
from attar.synthesis.pixels import Init, Space
from attar.training.pool import Pool
from attar.training.train import SGD, train

MOST = 50  # updates that share a network
EPOCHS = {10: 50, 20: 25, 30: 20, 40: 15, 50: 10}  # by images a class; below 10 as at 10, above 50 as at 50


@dataclass(frozen=True, kw_only=True)
class DC(Settings):
    """Gradients agree under networks that learn from the synthetic images.

    A network serves `ipm` updates, and learns for `inner` epochs between two of them. `None` is as in the authors'
    table, carried on to any budget: as many updates as images a class, 50 at most; 50 epochs up to ten images, then
    fewer, down to 10. The paper steps once a class. Its code adds the classes up and steps once, as this does.
    """

    updates: int = 1000
    lr: float = 0.1
    ipm: int | None = None
    inner: int | None = None
    lr_net: float = 0.01
    batch_train: int = 256
    batch_real: int = 256
    factor: int = 1
    init: Init = "noise"
    space: Space = "normalised"
    augment: str = ""
    style: Literal["dsa", "idc"] = "dsa"
    separable: ClassVar[bool] = False  # networks learn from the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn, views = self.begin(task, ipc, run)
        network, every, epochs = task.network, self.cycle(ipc), self.inner or epochs_between(ipc)
        match = Match.of(views, cosine, self.flop_real(task, syn), self.flop_synthetic(task, syn))
        learnt = (self.updates - self.updates // every) * epochs * len(syn.classes) * syn.each
        run.announce(network.train_logits, TRAINING * learnt * network.flop(task.shape))
        # What lives for a whole network is kept beyond an episode: at ten images a class that takes minutes.
        student = Pool(network, 1)

        def teach(w, syn, rng):
            (x, y), plain = syn(), SGD(self.lr_net, momentum=0.0, weight_decay=0.0)
            learn = partial(train, epochs=epochs, optimiser=plain, batch=self.batch_train, augment=views.augment)
            return learn(network, w, x, y, rng=rng, run=run)

        def episode(syn, rng):
            if student.due(every):
                student.push(network.init(rng.fold("network")))
            else:
                student.put(0, *teach(student.at(0)[0], syn, rng.fold("train")))
            syn.clamp_()  # the step before may have left [0, 1]
            w = views.freeze(student.at(0)[0], rng)
            yield views.update(match.terms, w, views.draw(rng.fold("view")))

        return self.learn(episode, syn, run, self.lr, self.momentum, state=student)

    def cycle(self, ipc: int) -> int:
        """Updates that share a network, after which their cost repeats."""
        return self.ipm or min(ipc, MOST)


def epochs_between(ipc: int) -> int:
    """The authors' table of epochs, on straight lines between its budgets."""
    (low, most), *rest = EPOCHS.items()
    for high, least in rest:
        if ipc < high:
            return round(most + (least - most) * max(0, ipc - low) / (high - low))
        low, most = high, least
    return most
