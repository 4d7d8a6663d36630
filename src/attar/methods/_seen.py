"""How methods without views see the data: whitened where asked, and through frozen batch normalisation."""

import math

from attar.data.task import Task
from attar.data.whitening import LARGEST
from attar.methods._views import EACH
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng


def see(task: Task, zca: bool) -> Task:
    """The data as networks see it: whitened where asked. Raises `ValueError` where it cannot be."""
    if not zca:
        return task
    if task.columns is not None or math.prod(task.shape) > LARGEST:
        what = "rows of a table" if task.columns is not None else f"images of more than {LARGEST:,} numbers"
        raise ValueError(f"zca=true whitens images, but not {what}: zca=false leaves them as they are")
    return task.whitened()


def freeze(task: Task, w: Weights, rng: Rng, network: Network | None = None) -> Weights:
    """The network with batch normalisation frozen at the statistics of 16 real images of every class.

    It is the task's own, or another. One without such layers stays as it is.
    """
    network = network or task.network
    if not network.keeps_statistics:
        return w
    real = task.sample(range(len(task.classes)), EACH, rng.fold("statistics"))
    return Weights(w.params, network.statistics(w, real.flatten(0, 1)))
