"""The rows of the audit robust: accuracies, losses and gaps, and the gates that they pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attar.evaluation.audits.attacks.trials import (
    CORRUPTED,
    DIGITS,
    EVERYWHERE,
    LOSSES,
    PARTS,
    STRONGEST,
    TRANSFERRED,
)
from attar.evaluation.audits.corruptions import CORRUPTIONS, LEVELS
from attar.evaluation.audits.frame import Bench, Found, Subject
from attar.evaluation.audits.intervals import Interval, hit_rate, mean_of_networks
from attar.evaluation.audits.measures import GATE, Measure
from attar.rng import Rng
from attar.training.attack import Ball

RNG = Rng(("audit", "robust", "intervals"))
SLACK = 0.5  # points by which accuracies may be in the wrong order: random starts differ by so much
Row = tuple[str, float | Interval | None, str, Sequence[Found]]


@dataclass(frozen=True, eq=False)
class Results:
    """What was found of a subject: of each trial, the results of its networks."""

    found: Mapping[str, Sequence[Found]]
    pgd: str
    """The attack that all networks face, such as `PGD-20`."""
    balls: Sequence[Ball]
    """In L∞, from small to large."""

    @classmethod
    def of(cls, found: Sequence[Found], pgd: str, balls: Sequence[Ball]) -> "Results":
        grouped: dict[str, list[Found]] = {}
        for one in found:
            grouped.setdefault(one["of"], []).append(one)
        return cls(grouped, pgd, balls)

    def hits(self, trial: str, stage: int | None = None) -> Bool[Tensor, "networks images"]:
        """Which images survive the attacks up to this stage; by default all of them."""
        found = self.found[trial]
        last = found[0]["stages"] if stage is None else stage
        return torch.tensor([[DIGITS.index(digit) > last for digit in one["survived"]] for one in found])

    def accuracy(self, attack: str, ball: Ball, stage: int | None = None) -> float:
        """In per cent, over all networks."""
        return 100 * self.hits(f"{attack}, {ball}", stage).double().mean().item()

    @cached_property
    def clean(self) -> float:
        return self.accuracy(self.pgd, self.balls[0], stage=0)

    def losses(self, part: str) -> Float[Tensor, "networks images"]:
        return torch.tensor([one[part] for one in self.found[LOSSES]], dtype=torch.float64)


def tell(
    found: Mapping[Subject, Sequence[Found]], bench: Bench, remark: str, pgd: str, balls: Sequence[Ball]
) -> Iterator[Measure]:
    """All rows of all subjects. `remark` is how their networks were hardened."""
    results = {subject: Results.of(own, pgd, balls) for subject, own in found.items() if own}
    whole = next((own for subject, own in results.items() if subject.role == "whole"), None)
    trained = f"{bench.protocol.name}{remark}"
    for subject, own in results.items():
        rows = [*tell_accuracies(own), *tell_losses(own, whole), *tell_corruptions(own), *tell_gates(own)]
        for name, value, unit, based in rows:
            about: dict[str, Any] = {"trained": trained, "network": bench.task.network.name, "networks": len(based)}
            about |= {"note": bench.note_of(subject, remark)}
            yield subject.measure("robust", name, value, unit, tested=count_images(based), **about)


def count_images(based: Sequence[Found]) -> int:
    one = based[0]
    if one["of"] == CORRUPTED:
        return len(next(iter(one["right"].values()))[0])
    return len(one[PARTS[0]] if one["of"] == LOSSES else one["survived"])


def tell_accuracies(own: Results) -> Iterator[Row]:
    """Without an attack, and under each."""
    first = f"{own.pgd}, {own.balls[0]}"
    yield "accuracy", hit_rate(own.hits(first, 0), RNG), "%", own.found[first]
    for trial, found in own.found.items():
        if trial in (LOSSES, CORRUPTED) or TRANSFERRED in trial or trial.endswith(str(EVERYWHERE)):
            continue
        fewer = count_images(found) < count_images(own.found[first])
        attack, _, where = trial.rpartition(", ")
        where += f" ({count_images(found)} images)" if fewer else ""
        for part, stage in list_stages(attack, found[0]["stages"]).items():
            yield f"accuracy, {part}, {where}", hit_rate(own.hits(trial, stage), RNG), "%", found
    for ball in own.balls:
        trial = f"{own.pgd}, {ball}"
        drop = 100 * (own.clean - own.accuracy(own.pgd, ball)) / own.clean if own.clean else None
        yield f"drop rate, {trial}", drop, "%", own.found[trial]


def list_stages(attack: str, last: int) -> dict[str, int]:
    """What is told of a trial, and after which stage: of the strongest also what its parts leave."""
    if attack != STRONGEST:
        return {attack: last}
    return {"APGD-CE": 1, "then APGD-T": last - 1, "then Square": last}


def tell_losses(own: Results, whole: Results | None) -> Iterator[Row]:
    """L_adv(f) in the smallest ball, and how far it is from that of networks trained on the whole set."""
    based = own.found.get(LOSSES, ())
    for part in PARTS if based else ():
        losses = own.losses(part)
        yield f"L_adv on {part}, {own.balls[0]}", mean_of_networks(losses, RNG), "", based
        if whole is not None and whole is not own:
            gap = abs(whole.losses(part).mean().item() - losses.mean().item())
            yield f"L_adv on {part}, gap to the whole set", gap, "", based
    if whole is not None and whole is not own:
        trial = f"{own.pgd}, {own.balls[0]}"
        gap = abs(whole.accuracy(own.pgd, own.balls[0]) - own.accuracy(own.pgd, own.balls[0]))
        yield f"accuracy, {trial}, gap to the whole set", gap, "points", own.found[trial]


def tell_corruptions(own: Results) -> Iterator[Row]:
    """Over all kinds, then by strength and by kind."""
    based = own.found.get(CORRUPTED, ())
    if not based:
        return
    right = torch.stack([100 * read_digits(one["right"]) for one in based])
    yield "accuracy, all corruptions", mean_of_networks(right.mean((1, 2)), RNG), "%", based
    for level in range(LEVELS):
        mean = mean_of_networks(right[:, :, level].mean(1), RNG)
        yield f"accuracy, corruptions of strength {level + 1}", mean, "%", based
    for i, kind in enumerate(CORRUPTIONS):
        yield f"accuracy, {kind}", mean_of_networks(right[:, i].mean(1), RNG), "%", based


def read_digits(right: Mapping[str, Sequence[str]]) -> Float[Tensor, "kinds levels images"]:
    return torch.tensor([[[float(digit) for digit in one] for one in right[kind]] for kind in CORRUPTIONS])


def tell_gates(own: Results) -> Iterator[Row]:
    """What must hold of every attack that is one (Carlini et al., 2019); half a point is allowed for chance."""
    pgd, smallest = [own.accuracy(own.pgd, ball) for ball in own.balls], f"{own.pgd}, {own.balls[0]}"
    falls = all(after <= before + SLACK for before, after in zip([own.clean, *pgd], pgd, strict=False))
    yield "gate: accuracy falls with ε", float(falls), GATE, own.found[smallest]
    everywhere = f"{own.pgd}, {EVERYWHERE}"
    yield "gate: accuracy is 0 at ε = 1", float(not own.hits(everywhere).any()), GATE, own.found[everywhere]
    steeper = all(strong <= own.accuracy("FGSM", ball) + SLACK for strong, ball in zip(pgd, own.balls, strict=True))
    yield f"gate: {own.pgd} is no weaker than FGSM", float(steeper), GATE, own.found[smallest]
    transferred = f"{own.pgd} {TRANSFERRED}, {own.balls[0]}"
    if transferred in own.found:
        white = 100 * own.hits(smallest)[0].double().mean().item()
        holds = white <= own.accuracy(f"{own.pgd} {TRANSFERRED}", own.balls[0]) + SLACK
        yield "gate: an attack on another network is no stronger", float(holds), GATE, own.found[transferred]
