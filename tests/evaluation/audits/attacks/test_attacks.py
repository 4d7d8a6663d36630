"""Attacks against foolbox, against what a linear network lets compute exactly, and against the laws that they keep."""

import math

import pytest
import torch

from attar.evaluation.audits.attacks.apgd import APGD, aim, checkpoints
from attar.evaluation.audits.attacks.gradient import FGSM, PGD, adversarial_loss
from attar.evaluation.audits.attacks.square import Square, area
from attar.evaluation.audits.attacks.victim import Victim, cross_entropy, survive
from attar.rng import Rng
from attar.training.attack import Ball, climb

RNG = Rng.of(0)
ATTACKS = [FGSM(), PGD(10), APGD(20), APGD(20, target=1), Square(60)]


def linear(classes=3, d=12, dtype=torch.float32) -> tuple[Victim, torch.Tensor]:
    """Scores that are linear in the pixels of 1 × 3 × 4 images."""
    weight = torch.randn(d, classes, generator=RNG.generator(), dtype=dtype)
    return Victim(lambda x: x.flatten(1) @ weight), weight


def curved() -> Victim:
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(12, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3)
    ).requires_grad_(False)
    generator = RNG.fold("module").generator()
    for p in module.parameters():
        p.copy_(0.6 * torch.randn(p.shape, generator=generator))
    return Victim(module)


def images(n=40, dtype=torch.float32):
    return torch.rand(n, 1, 3, 4, generator=RNG.fold("images").generator(), dtype=dtype)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_an_attack_makes_lies_in_the_ball_and_is_worse(attack, norm):
    if norm == "l2" and isinstance(attack, Square):
        with pytest.raises(ValueError, match=r"written for L∞ alone, not for L2 0\.2"):
            attack(curved(), images(), torch.zeros(40, dtype=torch.long), Ball(norm, 0.2), RNG)
        return
    victim, x, ball = curved(), images(), Ball(norm, 0.2)
    y = victim.scores(x).argmax(1)
    made = attack(victim, x, y, ball, RNG)
    change = (made - x).flatten(1)
    assert (change.abs().amax(1) if norm == "linf" else change.norm(dim=1)).max() <= 0.2 + 1e-6
    assert made.min() >= 0 and made.max() <= 1
    assert victim.right(made, y).float().mean() < 1
    assert torch.equal(made, attack(victim, x, y, ball, RNG))


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_a_ball_without_extent_holds_the_image_alone(attack):
    x, y = images(), torch.zeros(40, dtype=torch.long)
    torch.testing.assert_close(attack(curved(), x, y, Ball("linf", 0.0), RNG), x, atol=0, rtol=0)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_of_two_classes_and_linear_scores_the_worst_image_is_known(attack):
    """The margin falls by eps · Σ|w_y − w_other| over the pixels, as far as black and white allow; in float64."""
    victim, weight = linear(2, dtype=torch.float64)
    x, ball = images(dtype=torch.float64) * 0.6 + 0.2, Ball("linf", 0.1)  # no pixel meets the border
    y = victim.scores(x).argmax(1)
    margin = (victim.scores(x).amax(1) - victim.scores(x).amin(1)) - 0.1 * (weight[:, 0] - weight[:, 1]).abs().sum()
    survived = survive(victim, [attack], x, y, ball, RNG, size=16)
    if isinstance(attack, Square):  # a random search: no better than what is possible
        assert ((survived == 2) >= (margin > 0)).all()
    else:
        assert torch.equal(survived == 2, margin > 0)


def test_in_l2_a_step_goes_straight_up():
    """Of linear scores the worst image is x − eps · w/‖w‖, with w the difference of two classes' weights."""
    victim, weight = linear(2, dtype=torch.float64)
    x, ball = images(dtype=torch.float64) * 0.4 + 0.3, Ball("l2", 0.1)
    y = torch.zeros(40, dtype=torch.long)
    w = (weight[:, 1] - weight[:, 0]).view(1, 3, 4)
    expected = x + 0.1 * w / w.norm()
    for attack in (FGSM(), PGD(30)):
        torch.testing.assert_close(attack(victim, x, y, ball, RNG), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(FGSM()(victim, x, y, ball, RNG), expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_are_those_of_foolbox(norm):
    """From the clean image, by the same number of steps of the same length."""
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed (extra `test`)")
    eps, kind = 0.2, {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    module = curved().scores_of
    victim, x, ball = Victim(module), images(), Ball(norm, eps)
    y = torch.arange(40) % 3
    model = foolbox.PyTorchModel(module.eval(), bounds=(0, 1), device="cpu")
    for steps in (1, 10):
        theirs = kind(abs_stepsize=eps / 4, steps=steps, random_start=False).run(model, x, y, epsilon=eps)
        ours = climb(victim.gradient(cross_entropy, y), x, x, ball, steps, eps / 4)
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    fast = {"linf": foolbox.attacks.FGSM, "l2": foolbox.attacks.FGM}[norm](random_start=False)
    torch.testing.assert_close(FGSM()(victim, x, y, ball, RNG), fast.run(model, x, y, epsilon=eps), atol=2e-6, rtol=0)


def test_stronger_attacks_leave_fewer_right():
    victim, x, ball = curved(), images(400), Ball("linf", 0.08)
    y = victim.scores(x).argmax(1)
    left = {
        repr(attacks): (survive(victim, attacks, x, y, ball, RNG, size=64) == len(attacks) + 1).sum().item()
        for attacks in ([FGSM()], [PGD(20)], [PGD(20)] * 5, [APGD(40)], [APGD(40), APGD(40, 1), APGD(40, 2)])
    }
    fgsm, pgd, restarts, apgd, both = left.values()
    assert fgsm >= pgd >= restarts >= both and pgd >= apgd >= both
    assert 0 < both < 400


def test_an_image_counts_the_stages_that_it_survives():
    victim, _ = linear(2)
    x, y = images(30), torch.arange(30) % 2
    survived = survive(victim, [FGSM(), FGSM()], x, y, Ball("linf", 0.05), RNG, size=7)
    right = victim.right(x, y)
    assert ((survived > 0) == right).all()
    assert set(survived.tolist()) <= {0, 1, 3}  # the second does what the first did
    everywhere = survive(victim, [PGD(10)] * 3, x, y, Ball("linf", 1.0), RNG, size=7)
    assert (everywhere == right).all()  # none is left for the second
    single = survive(victim, [FGSM()], x, y, Ball("linf", 0.05), RNG, size=30)
    assert ((survived == 3) == (single == 2)).all()


def test_normalised_images_are_refused():
    x, y = images() * 3 - 1, torch.zeros(40, dtype=torch.long)
    for attack in ATTACKS:
        with pytest.raises(ValueError, match=r"an attack takes pixels on \[0, 1\], and these reach from -[01]"):
            attack(curved(), x, y, Ball("linf", 0.1), RNG)


@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf, "1"])
def test_a_radius_is_a_number_of_at_least_zero(eps):
    with pytest.raises(ValueError, match=r"eps must be a number of at least 0, in pixels on \[0, 1\]"):
        Ball("linf", eps)


def test_balls_are_called_as_the_literature_does():
    assert [str(Ball("linf", eps)) for eps in (8 / 255, 0.5 / 255, 0.1)] == ["L∞ 8/255", "L∞ 0.5/255", "L∞ 0.1"]
    assert str(Ball("l2", 0.5)) == "L2 0.5"


def test_the_adversarial_loss_is_never_below_the_clean_one_and_grows_with_the_ball():
    victim, x, y = curved(), images(), torch.arange(40) % 3
    clean = cross_entropy(victim.scores(x), y)
    found = [adversarial_loss(victim, PGD(20), x, y, Ball("linf", eps), RNG) for eps in (0.0, 0.01, 0.1)]
    torch.testing.assert_close(found[0], clean)
    assert (found[1] >= clean).all() and found[2].mean() > found[1].mean() > clean.mean()


def test_apgd_checks_its_length_when_its_paper_does():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_the_targeted_ratio_by_hand():
    """z = (3, 1, 0, −2) and y = 0: the best wrong class is 1, so (1 − 3) / (3 − ½ (0 − 2)) = −½."""
    scores = torch.tensor([[3.0, 1.0, 0.0, -2.0]])
    x, y = torch.zeros(1, 1, 1, 1), torch.tensor([0])
    loss = aim(Victim(lambda x: scores), x, y, 1)
    assert loss(scores, y).item() == pytest.approx(-0.5)
    assert loss(5 * scores + 2, y).item() == pytest.approx(-0.5)  # whatever the scale and the shift


def test_squares_shrink_as_their_paper_says():
    assert [area(query, 10_000) for query in (0, 10, 11, 51, 8001)] == [0.8, 0.8, 0.4, 0.2, 0.8 / 512]
    assert area(999, 1000) == area(9990, 10_000)
