"""Networks trained on the whole set: what takes long and methods share, computed once and kept on disk."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data.task import Task
from attar.engine.piece import Tick
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.engine.structures import map_tensors
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.training.fit import fit
from attar.training.protocol import DSA, IDC, Protocol
from attar.training.stages import Cohort, Stage, Tensors, Wanted, describe_data, describe_engine

EARLY = 1, 5  # epochs after which the weights of networks that methods share are kept too
VERSION = 2  # of how networks are trained: with another, those in the cache are not taken


def train_whole(task: Task, run: Run, epochs: int) -> Weights:
    """Weights of `task.network` trained on the whole training set with DSA: another network for another seed."""
    protocol = suited(task, Protocol("whole", "training on the whole set", epochs, 256, "half", DSA))
    ((tensors,),) = gather(task, run, protocol, [run.rng.fold("trained")], [epochs]).load()
    return Weights.of(tensors, task.device)


def pretrain(task: Task, run: Run, count: int, epochs: int) -> list[tuple[Weights, Weights]]:
    """`count` networks before and after training on the whole set.

    They learn in batches of 256, with IDC's augmentation and CutMix. They do not depend on the run's seed: runs,
    methods and budgets share them. What is not in the cache is announced with its cost.
    """
    starts = [task.network.init(network_rng(i).fold("network")) for i in range(count)]
    ends = starts
    if epochs:
        networks = gather_shared(task, run, count, epochs)
        networks.announce()
        ends = [Weights.of(tensors, task.device) for (tensors,) in networks.load()]
    return list(zip(starts, ends, strict=True))


def pretrain_early(task: Task, run: Run, count: int, epochs: int) -> list[Weights]:
    """The weights of such networks after their first epochs (`EARLY`), those of each one after another."""
    if not epochs:
        return [start for start, _ in pretrain(task, run, count, epochs)]
    networks = gather_shared(task, run, count, epochs, early_ages(epochs))
    networks.announce()
    return [Weights.of(tensors, task.device) for ages in networks.load() for tensors in ages]


def early_ages(epochs: int) -> list[int]:
    """Those of `EARLY` that so long a training has."""
    return [age for age in EARLY if age <= epochs]


def pretraining_left(task: Task, run: Run, count: int, epochs: int, ages: Sequence[int] = ()) -> Stage:
    """What is still to be trained for the weights after so many epochs each, by default the last."""
    return gather_shared(task, run, count, epochs, ages).stage() if epochs else Stage(0, 0)


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


def gather_shared(task: Task, run: Run, count: int, epochs: int, ages: Sequence[int] = ()) -> Cohort:
    """Networks that methods share, as they are after so many epochs, by default the last."""
    rngs = list(map(network_rng, range(count)))
    return gather(task, run, pretraining_protocol(task, epochs), rngs, ages or [epochs], early_ages(epochs))


def pretraining_protocol(task: Task, epochs: int) -> Protocol:
    return suited(task, Protocol("pretrained", "networks that methods share", epochs, 256, "thirds", IDC, cutmix=0.5))


def suited(task: Task, protocol: Protocol) -> Protocol:
    """The protocol as it suits the task: rows of a table are not augmented."""
    return protocol if task.columns is None else protocol.plain()


def network_rng(i: int) -> Rng:
    return Rng(("pretrained", i))


def gather(
    task: Task, run: Run, protocol: Protocol, rngs: Sequence[Rng], ages: Sequence[int], also: Sequence[int] = ()
) -> Cohort:
    """Networks as they are after so many epochs; what is trained keeps its end too, and the ages `also`."""
    n, flop = len(task.train.y), training_flop(task, protocol)
    data, engine = describe_data(task), (*describe_engine(run, flop, len(rngs)), torch.__version__)
    kept, wanted = sorted({*ages, *also, protocol.epochs}), []
    for rng in rngs:
        facts = VERSION, data, engine, task.network.key, protocol, rng.path
        files = {age: repr(facts if age == protocol.epochs else (*facts, age)) for age in kept}
        name = f"{task.network.name} on {task.name}, {protocol.name}, epochs: {protocol.epochs}"
        seed = next((part for part in rng.path if isinstance(part, int)), 0)
        train = partial(train_network, protocol, rng, files)
        wanted.append(Wanted(name, seed, tuple(files[age] for age in ages), files[protocol.epochs], train))
    disk, known = 4 * len(kept) * task.network.parameters, bool(task.network.key)
    return Cohort(task, run, "network", "stages", wanted, protocol.epochs, protocol.updates(n), flop, disk, known)


def training_flop(task: Task, protocol: Protocol) -> int:
    """Floating-point operations of training a network on the whole training set."""
    n = len(task.train.y)
    return TRAINING * protocol.length(n) * n * task.network.flop(task.shape)


def train_network(
    protocol: Protocol, rng: Rng, files: dict[int, str], task: Task, run: Run, tick: Tick
) -> dict[str, Tensors]:
    """The network's tensors for its files, each as it is after so many epochs."""
    found: dict[str, Tensors] = {}
    done, total = 0, protocol.updates(len(task.train.y))

    def look(networks: list[Weights]) -> None:
        nonlocal done
        done += 1
        age, rest = divmod(done * protocol.epochs, total)
        if rest == 0 and age in files:
            found[files[age]] = map_tensors(networks[0], lambda tensor: tensor.detach().clone()).named()
        tick()

    x = task.normalise(task.train.x.to(task.device))
    end = fit(task.network, x, task.train.y, protocol, rng, run, flip=task.flip, tick=look)
    return found | {files[protocol.epochs]: end.named()}
