"""Robust: what networks trained on a set still get right under attacks and corruptions.

Attacks see pixels on [0, 1]. Accuracies of two ways of training are never in one table. Numbers of images, networks and
steps are ours; radii are those that tell sets of such data apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from attar.engine.piece import Piece
from attar.engine.run import Run
from attar.evaluation.audits.attacks.apgd import APGD
from attar.evaluation.audits.attacks.gradient import FGSM, PGD
from attar.evaluation.audits.attacks.square import Square
from attar.evaluation.audits.attacks.trials import (
    CORRUPTED,
    EVERYWHERE,
    LOSSES,
    PARTS,
    STRONGEST,
    TRANSFERRED,
    Transferred,
    Trial,
    choose_grid,
    measure_losses,
    read_grid,
    show_corrupted,
    try_attacks,
)
from attar.evaluation.audits.attacks.victim import FORWARD_AND_BACK, Attack
from attar.evaluation.audits.corruptions import CORRUPTIONS, LEVELS
from attar.evaluation.audits.frame import Audit, Bench, Found, Subject
from attar.evaluation.audits.measures import Measure
from attar.evaluation.audits.robustness_rows import tell
from attar.evaluation.audits.trained import Trained, list_trained, train_pieces
from attar.training.attack import Ball
from attar.training.hardening import PLAIN, Hardening

FEW = 100  # images, for what is only a gate
LEAST = {"images": FEW, "steps": 1, "strong_steps": 1, "restarts": 1, "iterations": 1, "queries": 1}
LEAST |= {"strong_images": 0, "strongest_images": 0}
MOST_RESTARTS = 30  # each is a stage, which has a letter


@dataclass(frozen=True)
class Robust(Audit):
    """How accurate networks are under attacks within balls, and on corrupted images."""

    name: ClassVar[str] = "robust"
    adversarial: bool = False
    """Train the networks against PGD-3 in L∞, in the second ball of the grid."""
    eps: Any = None
    """Radii in L∞, in pixels on [0, 1], as numbers or as text such as `1/255, 2/255`; by default as suits the data."""
    l2: float = 0.5
    """Radius in L2; 0 leaves it out."""
    images: int = 1000
    """Test images, for FGSM, PGD and corruptions."""
    steps: int = 20
    strong_images: int = 500
    """For PGD of `strong_steps` with `restarts`, on one network a set, and for losses; 0 leaves both out."""
    strong_steps: int = 50
    restarts: int = 5
    strongest_images: int = 200
    """For APGD-CE, APGD-T and Square one after another, on one network a set; 0 leaves them out."""
    iterations: int = 100
    queries: int = 1000
    corruptions: bool = True
    whole: bool = True
    """Whether the whole set stands beside the others."""

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        if bench.task.columns is not None:
            raise ValueError("attacks and corruptions are for images, and these are rows of a table")
        self.grid(bench)
        Ball("l2", self.l2)
        for name, least in LEAST.items():
            if (given := getattr(self, name)) < least:
                raise ValueError(f"{name} must be at least {least} for the audit robust, not {given}")
        if self.restarts > MOST_RESTARTS:
            raise ValueError(f"restarts must be at most {MOST_RESTARTS}, not {self.restarts}")

    def grid(self, bench: Bench) -> tuple[float, ...]:
        return choose_grid(bench.task) if self.eps is None else read_grid(self.eps)

    def hardening(self, bench: Bench) -> Hardening:
        return Hardening(self.grid(bench)[:2][-1], 3) if self.adversarial else PLAIN

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        return train_pieces(subject, bench, self.hardening(bench)) if self.judges(subject) else []

    def judges(self, subject: Subject) -> bool:
        return self.whole or subject.role != "whole"

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        if not self.judges(subject):
            return []
        # In float32, whatever networks were trained in: shorter numbers would hide gradients from an attack.
        networks, run = list_trained(subject, bench, self.hardening(bench)), bench.run("fp32")
        pieces = [self.attack(subject, bench, *one, run) for one in self.trials(bench, networks, run)]
        if self.strong_images:
            pieces += [self.look_for_losses(subject, bench, trained, run) for trained in networks]
        if self.corruptions:
            pieces += [self.corrupt(subject, bench, trained, run) for trained in networks]
        return pieces

    def trials(self, bench: Bench, networks: Sequence[Trained], run: Run) -> list[tuple[Trained, Trial]]:
        """Each with its network; the strong ones are for the first alone."""
        balls, count = [Ball("linf", eps) for eps in self.grid(bench)], self.count(bench)
        pgd, name = PGD(self.steps), f"PGD-{self.steps}"
        each = [Trial("FGSM", (FGSM(),), ball, count) for ball in balls]
        each += [Trial(name, (pgd,), ball, count) for ball in (*balls, *([Ball("l2", self.l2)] if self.l2 else []))]
        alone = [Trial(name, (pgd,), EVERYWHERE, min(FEW, count))]
        if len(networks) > 1:
            other = Transferred(pgd, networks[1].path.name, networks[1], run)
            alone.append(Trial(f"{name} {TRANSFERRED}", (other,), balls[0], count))
        for called, attacks, images in self.strong(bench):
            alone += [Trial(called, attacks, ball, min(images, count)) for ball in balls if images]
        return [(trained, trial) for trained in networks for trial in each] + [(networks[0], trial) for trial in alone]

    def strong(self, bench: Bench) -> list[tuple[str, tuple[Attack, ...], int]]:
        """Names, attacks and images. The second are AutoAttack's but for FAB, and APGD aims at up to nine classes."""
        often = (PGD(self.strong_steps),) * self.restarts
        aimed = [APGD(self.iterations, target) for target in range(1, min(10, len(bench.task.classes)))]
        strongest: tuple[Attack, ...] = (APGD(self.iterations), *aimed, Square(self.queries))
        name = f"PGD-{self.strong_steps} × {self.restarts}"
        return [(name, often, self.strong_images), (STRONGEST, strongest, self.strongest_images)]

    def count(self, bench: Bench) -> int:
        return min(self.images, len(bench.task.test.y))

    def attack(self, subject: Subject, bench: Bench, trained: Trained, trial: Trial, run: Run) -> Piece:
        part, flop = bench.test(self.count(bench)), bench.task.network.flop(bench.task.shape)
        cost = trial.images * trial.passes * flop
        work = partial(try_attacks, trained, trial, part.path, run, cost)
        told = trial.recipe, trained.path.name, part.hash
        return subject.piece(bench, str(trial), work, recipe=told, seed=trained.seed, cost=cost, steps=trial.steps)

    def look_for_losses(self, subject: Subject, bench: Bench, trained: Trained, run: Run) -> Piece:
        """Of a sample of the training images that were condensed, as L_adv is defined, and of test images."""
        images, ball = min(self.strong_images, self.count(bench)), Ball("linf", self.grid(bench)[0])
        parts = dict(zip(PARTS, (bench.sample(images), bench.test(self.count(bench))), strict=True))
        cost = 2 * images * (FORWARD_AND_BACK * self.steps + 2) * bench.task.network.flop(bench.task.shape)
        paths = {name: part.path for name, part in parts.items()}
        work = partial(measure_losses, trained, PGD(self.steps), ball, paths, images, run, cost)
        told = self.steps, ball, images, trained.path.name, [part.hash for part in parts.values()]
        return subject.piece(bench, LOSSES, work, recipe=told, seed=trained.seed, cost=cost, steps=len(parts))

    def corrupt(self, subject: Subject, bench: Bench, trained: Trained, run: Run) -> Piece:
        part, count = bench.test(self.count(bench)), len(CORRUPTIONS) * LEVELS
        cost = count * self.count(bench) * bench.task.network.flop(bench.task.shape)
        work = partial(show_corrupted, trained, part.path, run, cost)
        told = trained.path.name, part.hash
        return subject.piece(bench, CORRUPTED, work, recipe=told, seed=trained.seed, cost=cost, steps=count)

    def measures(self, found: Mapping[Subject, Sequence[Found]], bench: Bench) -> list[Measure]:
        balls = [Ball("linf", eps) for eps in self.grid(bench)]
        return list(tell(found, bench, self.hardening(bench).remark, f"PGD-{self.steps}", balls))
