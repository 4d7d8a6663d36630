"""Which attacks are tried: on how many images and networks, and in balls of which size."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch

from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.device import use_device
from attar.engine.piece import Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.evaluation.audits.attacks.gradient import PGD, adversarial_loss
from attar.evaluation.audits.attacks.victim import Attack, Images, Labels, Victim, make_victim, survive
from attar.evaluation.audits.corruptions import CORRUPTIONS, LEVELS, corrupt
from attar.evaluation.audits.frame import Found
from attar.evaluation.audits.trained import Trained
from attar.files import read_tensors
from attar.rng import Rng
from attar.training.attack import Ball

# Radii in L∞ that tell networks apart, from small to large, by the name of the data.
GRIDS = {"mnist": (0.1, 0.2, 0.3), "fashion-mnist": (4 / 255, 8 / 255, 16 / 255)}
SMALL = (1 / 255, 2 / 255, 4 / 255, 8 / 255)  # of colour images below 64 pixels a side
LARGE = (0.5 / 255, 1 / 255, 2 / 255, 4 / 255)  # of larger ones
EVERYWHERE = Ball("linf", 1.0)  # holds every image: what fails in it is no attack
STRONGEST, TRANSFERRED = "APGD-CE, APGD-T and Square", "on another network"
LOSSES, CORRUPTED = "adversarial loss", "corruptions"
PARTS = "training images", "test images"  # of which losses are measured
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"  # a stage each, so that a text has a letter an image


@dataclass(frozen=True)
class Trial:
    """Attacks that follow one another, each on the images that survived so far."""

    name: str
    attacks: tuple[Attack, ...]
    ball: Ball
    images: int

    def __str__(self) -> str:
        return f"{self.name}, {self.ball}"

    @property
    def passes(self) -> int:
        """What it costs for an image at most, in forward passes."""
        return 1 + sum(attack.passes + 1 for attack in self.attacks)

    @property
    def steps(self) -> int:
        """How often its work ticks."""
        return 1 + len(self.attacks)

    @property
    def recipe(self) -> str:
        """All that it depends on beside the victim and the images."""
        return repr((self.attacks, self.ball, self.images))


@dataclass(frozen=True)
class Transferred:
    """An attack on another network, whose images are then shown to the victim."""

    attack: PGD
    source: str
    """The file of its weights, which tells it from others."""
    trained: Trained = field(repr=False)
    run: Run = field(repr=False)

    @property
    def passes(self) -> int:
        return self.attack.passes

    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images:
        return self.attack(make_victim(self.trained, self.run), x, y, ball, rng)


def choose_grid(task: Task) -> tuple[float, ...]:
    return GRIDS.get(task.name, LARGE if min(task.shape[1:]) >= 64 else SMALL)


def read_grid(given: Sequence[float] | float | str) -> tuple[float, ...]:
    """Radii from small to large: numbers, or text such as `1/255, 2/255`. Raises `ValueError` for anything else."""
    if isinstance(given, str):
        try:
            given = [float(Fraction(part)) for part in re.split(r"[,\s]+", given.strip())]
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"eps must be numbers such as 1/255, 2/255, in pixels on [0, 1], not {given!r}") from None
    radii = tuple(sorted({Ball("linf", eps).eps for eps in ([given] if isinstance(given, int | float) else given)}))
    if not radii or radii[0] == 0:
        raise ValueError("eps must be above 0: without an attack accuracy is measured anyway")
    return radii


def try_attacks(trained: Trained, trial: Trial, path: Path, run: Run, flop: int, tick: Tick) -> Found:
    """How many stages each image survives, as digits: 0 is wrong without an attack, 1 wrong under the first."""
    with use_precision("fp32"), use_device(run.device):
        x, y = read_images(path, trial.images, run)
        victim = make_victim(trained, run, flop)
        size, rng = run.slice_size(trial.images), Rng(("audit", str(trial), trained.seed))
        survived = survive(victim, trial.attacks, x, y, trial.ball, rng, size, tick)
    return {
        "of": str(trial),
        "stages": len(trial.attacks),
        "survived": "".join(DIGITS[stages] for stages in survived.tolist()),
    }


def measure_losses(
    trained: Trained, attack: PGD, ball: Ball, paths: dict[str, Path], images: int, run: Run, flop: int, tick: Tick
) -> Found:
    """The cross-entropy of each image at its worst in the ball, for each of the parts."""
    found: Found = {"of": LOSSES}
    with use_precision("fp32"), use_device(run.device):
        victim, size = make_victim(trained, run, flop), run.slice_size(images)
        worst = partial(adversarial_loss, victim, attack)
        for name, path in paths.items():
            x, y = read_images(path, images, run)
            parts = enumerate(zip(x.split(size), y.split(size), strict=True))
            own = [worst(a, b, ball, Rng(("audit", "loss", name, i, trained.seed))) for i, (a, b) in parts]
            found[name] = [round(loss, 5) for part in own for loss in part.tolist()]
            tick()
    return found


def read_images(path: Path, count: int, run: Run) -> tuple[Images, Labels]:
    """The first images of a part in pixels on [0, 1], and their labels."""
    tensors, _ = read_tensors(path)
    return unit(tensors["x"][:count]).to(run.device), tensors["y"][:count].to(run.device)


@torch.no_grad()
def show_corrupted(trained: Trained, path: Path, run: Run, flop: int, tick: Tick) -> Found:
    """Which images are right, as digits 1 and 0, by kind of corruption and its strength."""
    tensors, found = read_tensors(path)[0], dict[str, list[str]]()
    x, y = unit(tensors["x"]), tensors["y"].to(run.device)
    with use_precision("fp32"), use_device(run.device):
        victim = make_victim(trained, run, flop)
        for kind in CORRUPTIONS:
            found[kind] = []
            for level in range(1, LEVELS + 1):
                images = corrupt(x, kind, level, Rng(("audit", "corruptions"))).to(run.device)
                scores = map_slices(victim.scores, images, run.slice_size(len(images)))
                found[kind].append("".join("01"[right] for right in (scores.argmax(1) == y).tolist()))
                tick()
    return {"of": CORRUPTED, "right": found}
