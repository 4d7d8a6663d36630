"""What the benchmark of speed runs: for each path Attar's loop and the literal one, on random images."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from attar.augment.dsa import Augment, apply
from attar.data.normalisation import Normalisation
from attar.data.task import Examples, Task
from attar.engine.cuda_graphs import Replay
from attar.engine.device import keep_freed_memory
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.methods import find
from attar.methods._unrolled import Learner
from attar.methods.selection.herding import herd
from attar.methods.selection.k_center import farthest_first
from attar.methods.trajectory._student import Stretch, Student
from attar.networks.by_name import make_network
from attar.networks.weights import TRAINING, Weights, flatten
from attar.training.fit import fit_together
from attar.training.protocol import DSA, PROTOCOLS
from attar.training.train import SGD
from attar.training.unrolled import ADJOINT, Unrolled

Tick = Callable[..., None]  # called after each turn's work, with how often it was done; waits for the next turn
# Updates in a turn: a GPU works on one while the host prepares the next; the literal loop waits for each.
IN_A_ROW = {"cpu": 1, "cuda": 20}
EACH = 500  # real images a class


@dataclass(frozen=True)
class Course:
    """`flop` floating-point operations in one turn, or where the memory is what limits, `bytes` to read and to write.

    `ours` and `literal` name functions here, called with `settings`.
    """

    name: str
    ours: str
    literal: str
    flop: int
    settings: dict[str, Any]
    bytes: int = 0

    @property
    def networks(self) -> int:
        """How many are trained at once."""
        return self.settings.get("networks", 1)


def task_of(side: int, classes: int, device: torch.device) -> Task:
    """Random images: grey at 28 pixels, colour above."""
    channels = 1 if side == 28 else 3
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> Examples:
        x = torch.randint(256, (n * classes, channels, side, side), generator=generator, dtype=torch.uint8)
        return Examples(x, torch.arange(classes).repeat_interleave(n))

    names, family = tuple(f"{c:03}" for c in range(classes)), make_network("convnet", (channels, side, side), classes)
    normalisation = Normalisation((0.5,) * channels, (0.29,) * channels)
    return Task("noise", part(EACH), part(2), names, normalisation, family).to(device)


@cache
def flop(side: int) -> int:
    return make_network("convnet", (1 if side == 28 else 3, side, side), 10).flop((1 if side == 28 else 3, side, side))


def condense(side: int, classes: int, method: str, ipc: int, run: Run, tick: Tick) -> None:
    row = IN_A_ROW[run.device.type]

    def progress(done: int, *_: Any) -> None:
        if done % row == 0:
            tick(row)

    find(method)(updates=10**6)(task_of(side, classes, run.device), ipc, dataclasses.replace(run, progress=progress))


def literal_condense(side: int, classes: int, method: str, ipc: int, run: Run, tick: Tick) -> None:
    from literal import gradients, matching

    loops = {"dc": gradients.dc, "dsa": gradients.dc, "idc": gradients.idc, "dm": matching.dm, "m3d": matching.m3d}
    task = task_of(side, classes, run.device)
    loops[method](find(method)(updates=10**6), task, ipc, run.rng, lambda *_: tick())


STEPS = 20  # of training in a turn


def every(tick: Tick) -> Callable[..., None]:
    count = 0

    def step(*_: Any) -> None:
        nonlocal count
        count += 1
        if count % STEPS == 0:
            tick()

    return step


def small_set(ipc: int, device: torch.device) -> tuple[Task, torch.Tensor, torch.Tensor]:
    task = task_of(32, 10, device)
    rows = torch.cat([torch.arange(ipc) + c * EACH for c in range(10)])
    return task, task.images(rows), task.train.y[rows]


LONG = dataclasses.replace(PROTOCOLS["dm"], epochs=10**5)


def train(ipc: int, networks: int, run: Run, tick: Tick) -> None:
    """On a GPU all networks side by side; on a CPU each process has its own."""
    task, x, y = small_set(ipc, run.device)
    rngs = [run.rng.fold(i) for i in range(networks if run.device.type == "cuda" else 1)]
    fit_together(task.network, x, y, LONG, rngs, run, tick=every(tick))


def literal_train(ipc: int, networks: int, run: Run, tick: Tick) -> None:
    from literal import training

    training.train(*small_set(ipc, run.device), LONG, run.rng, tick=every(tick))


def features(count: int, pixels: bool, run: Run, tick: Tick) -> None:
    """Features of `count` images, with the gradient of the pixels or without any."""
    task = task_of(32, 10, run.device)
    w, x = task.network.init(run.rng), task.images(torch.arange(count) % len(task.train.y))
    engine = run.engine(task.network.features, 10**18)

    def gradient(w: Weights, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(engine(w, x).square().sum(), x)[0]

    @torch.no_grad()
    def plain(w: Weights, x: torch.Tensor) -> torch.Tensor:
        return map_slices(lambda part: engine(w, part), x, run.slice_size(count))

    replay = Replay(gradient if pixels else plain)
    while True:
        for _ in range(IN_A_ROW[run.device.type]):
            for part in x.split(len(next(run.chunks(range(count), 1)))) if pixels else [x]:
                replay(w, part)
        tick(IN_A_ROW[run.device.type])


def literal_features(count: int, pixels: bool, run: Run, tick: Tick) -> None:
    """The module itself, 256 images at a time."""
    task = task_of(32, 10, run.device)
    with run.rng.scope():
        module = task.network.build().to(run.device)
    module.head = torch.nn.Identity()
    for parameter in module.parameters():
        parameter.requires_grad = False
    x = task.images(torch.arange(count) % len(task.train.y))
    while True:
        for _ in range(IN_A_ROW[run.device.type]):
            if pixels:
                x.grad = None
                module(x.requires_grad_()).square().sum().backward()
            else:
                with torch.no_grad():
                    torch.cat([module(part) for part in x.split(256)])
        tick(IN_A_ROW[run.device.type])


def augment(run: Run, tick: Tick, by_class: bool = False) -> None:
    """256 images of each of ten classes, by one call for all or one a class."""
    from literal.augmentation import augmented

    x, strategy, turn = torch.randn(10, 256, 3, 32, 32, device=run.device), Augment(DSA.strategy), 0
    ours = run.fuse(apply, 10**18)  # as in a long run, which compiles
    if run.device.type == "cpu":
        keep_freed_memory()  # as every run does
    while True:
        turn += 1
        draw = strategy.draw(10, (3, 32, 32), run.rng.fold(turn))
        if by_class:
            torch.stack([augmented(x[c], draw.rows([c])) for c in range(10)])
        else:
            ours(x, draw.to(x.device))
        tick()


POINTS, PICKS = (50_000, 2048), 10


def select(rule: str, run: Run, tick: Tick, literally: bool = False) -> None:
    """Ten of 50,000 points in 2048 dimensions."""
    from literal import selection

    f = torch.randn(*POINTS, generator=run.rng.generator()).to(run.device)
    ours = {"herding": herd, "k-center": farthest_first}[rule]
    literal = {"herding": selection.herd, "k-center": selection.farthest_first}[rule]
    while True:
        (literal if literally else ours)(f, PICKS)
        tick()


def unroll(steps: int, ipc: int, run: Run, tick: Tick, literally: bool = False) -> None:
    """The gradient through a student's training, from some weights towards others."""
    from literal.trajectories import follow

    task, x, y = small_set(ipc, run.device)
    start, other = (task.network.init(run.rng.fold(i)) for i in range(2))
    target, lr = start.between(other, 0.1), torch.full((), 0.01, device=run.device).requires_grad_()
    x.requires_grad_()
    goal = Stretch(flatten(start.params), flatten(target.params))
    plain = SGD(momentum=0.0, weight_decay=0.0)
    unrolled = Unrolled.of(task.network, task.shape, plain, 10**9, run)
    student = Student(Learner(task, unrolled, None, LONG.augment), start, steps)
    turn = 0
    while True:
        turn += 1
        if literally:
            follow(task, x, y, lr, start, target, steps, LONG.augment, run.rng.fold(turn))
        else:
            torch.autograd.grad(student.miss(goal, x, y, lr, run.rng.fold(turn)), (x, lr))
        tick()


FUNCTIONS: dict[str, Callable[..., None]] = {
    "condense": condense,
    "literal_condense": literal_condense,
    "train": train,
    "literal_train": literal_train,
    "features": features,
    "literal_features": literal_features,
    "augment": augment,
    "literal_augment": partial(augment, by_class=True),
    "unroll": unroll,
    "literal_unroll": partial(unroll, literally=True),
    "select": select,
    "literal_select": partial(select, literally=True),
}


def paths() -> list[Course]:
    found, sides = [], ("features", "literal_features")
    for name, passes, count in (("no gradient", 1, 2560), ("pixel gradient", 2, 100)):
        settings = {"count": count, "pixels": passes == 2}
        found.append(Course(f"features, {name}", *sides, passes * count * flop(32), settings))
    found.append(Course("augmentation", "augment", "literal_augment", 0, {}, bytes=2 * 4 * 10 * 256 * 3 * 32 * 32))
    # the mean, the differences from it, their norms, and one product for each pick; k-center's first is the nearest to
    # the mean
    for rule, products in (("herding", PICKS), ("k-center", PICKS - 1)):
        passes = (1 + 2 + 1 + products) * 4 * math.prod(POINTS)
        found.append(Course(rule, "select", "literal_select", 0, {"rule": rule}, bytes=passes))
    for ipc in (1, 10, 50):
        images = 10 * ipc * LONG.epochs / LONG.updates(10 * ipc)  # of a step: the last of an epoch may be small
        work = int(STEPS * TRAINING * images * flop(32))
        for name, networks in (("one network", 1), ("ten networks", 10)):
            settings = {"ipc": ipc, "networks": networks}
            found.append(Course(f"train {name}, IPC {ipc}", "train", "literal_train", work, settings))
    for method in ("dm", "m3d"):
        fields = find(method)()
        for classes in (10, 100):
            for side in (32, 28, 64):
                for ipc in (10, 1, 50):
                    images = classes * (fields.batch_real + 2 * ipc * fields.factor**2)
                    settings = {"side": side, "classes": classes, "method": method, "ipc": ipc}
                    name = f"{method}, {classes} classes, {side} px, IPC {ipc}"
                    found.append(Course(name, "condense", "literal_condense", images * flop(side), settings))
    for method in ("dc", "dsa", "idc"):  # at one image a class, where the networks of DC and DSA do not learn
        fields = find(method)()
        real, synthetic = fields.costs
        learnt = TRAINING * getattr(fields, "examples", 0)
        for side in (32, 28):
            passes = 10 * (real * fields.batch_real + synthetic * fields.factor**2) + learnt
            settings = {"side": side, "classes": 10, "method": method, "ipc": 1}
            name = f"{method}, 10 classes, {side} px, IPC 1"
            found.append(Course(name, "condense", "literal_condense", passes * flop(side), settings))
    for steps in (10, 50, 200):
        work = steps * 10 * (TRAINING + ADJOINT["exact"]) * flop(32)
        name = f"gradient through {steps} steps, 10 classes, 32 px, IPC 1"
        found.append(Course(name, "unroll", "literal_unroll", work, {"steps": steps, "ipc": 1}))
    return found
