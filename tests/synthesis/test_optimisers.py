import pytest
import torch
from torch import nn

from attar.synthesis.optimisers import OPTIMISERS, SCHEDULES, once_per_class


def test_one_step_for_all_classes_equals_the_papers_step_per_class():
    """The momentum identity against the literal loop: each class's gradient once, momentum moving all every time."""
    for classes, momentum in ((10, 0.5), (3, 0.9), (4, 0.0)):
        generator = torch.Generator().manual_seed(0)
        target = torch.randn(classes, 5, generator=generator, dtype=torch.float64)
        literal = nn.Parameter(torch.zeros(classes, 5, dtype=torch.float64))
        opt = torch.optim.SGD([literal], lr=0.03, momentum=momentum)
        # The gradients of one outer iteration are all taken where it began: the identity is about the steps.
        ours = nn.Parameter(torch.zeros(classes, 5, dtype=torch.float64))
        lr, mu = once_per_class(0.03, momentum, classes)
        one = torch.optim.SGD([ours], lr=lr, momentum=mu)
        noise = torch.randn(6, classes, 5, generator=generator, dtype=torch.float64)
        for t in range(6):
            for c in range(classes):
                literal.grad = torch.zeros_like(literal)
                literal.grad[c] = noise[t, c] + target[c]
                opt.step()
            ours.grad = noise[t] + target
            one.step()
        # Classes visited early have coasted on since their step; coast the late ones as far.
        reference = ours.detach()
        velocity = opt.state[literal]["momentum_buffer"] if momentum else torch.zeros_like(reference)
        for c in range(classes):
            coasted = sum(momentum**k for k in range(1, c + 1)) * velocity[c] * 0.03
            torch.testing.assert_close(literal.detach()[c] - coasted, reference[c], rtol=1e-12, atol=1e-12)


def test_momentum_of_ten_classes():
    lr, momentum = once_per_class(1.0, 0.5, 10)
    assert lr == pytest.approx(1.998, abs=1e-3) and momentum == pytest.approx(0.000977, abs=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_momentum_that_never_forgets_is_refused(name):
    with pytest.raises(ValueError, match="momentum must be below 1, not 1"):
        OPTIMISERS[name]([nn.Parameter(torch.zeros(1))], 0.1, 1.0)


def test_schedules_are_factors_of_the_step():
    assert [SCHEDULES["constant"](10)(t) for t in (0, 9)] == [1.0, 1.0]
    cosine = SCHEDULES["cosine"](10)
    assert cosine(0) == 1.0 and cosine(5) == pytest.approx(0.5) and cosine(10) == pytest.approx(0.0)
    tenth = SCHEDULES["tenth"](10)
    assert [tenth(t) for t in (0, 5, 10)] == pytest.approx([1.0, 0.55, 0.1])
    settle = SCHEDULES["settle"](10)
    assert [settle(t) for t in (0, 8, 9, 10)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_lamb_steps_as_far_as_the_tensor_is_long():
    """By the paper's rule for each tensor, where Adam's own step gives the direction; zeros step as Adam does."""
    draws = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 4, generator=draws), 100 * torch.randn(5, generator=draws), torch.zeros(2)]
    ours, theirs = ([nn.Parameter(part.clone().double()) for part in start] for _ in range(2))
    opt, adam = OPTIMISERS["lamb"](ours, 0.01, 0.9), torch.optim.Adam(theirs, lr=0.01, eps=1e-6)
    for _ in range(4):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=draws).double()
            q.grad = p.grad.clone()
        before = [p.detach().clone() for p in ours]
        shadow = [q.detach().clone() for q in theirs]
        opt.step()
        adam.step()
        for p, old, q, base in zip(ours, before, theirs, shadow, strict=True):
            direction = (q.detach() - base) / 0.01
            share = old.norm() / direction.norm() if old.norm() > 0 else 1.0
            torch.testing.assert_close(p.detach(), old + 0.01 * share * direction, rtol=1e-10, atol=1e-12)


def test_half_as_much_from_three_points_on():
    step = SCHEDULES["halve"](2000)
    found = [step(t) for t in (0, 1199, 1200, 1599, 1600, 1799, 1800, 1999)]
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
