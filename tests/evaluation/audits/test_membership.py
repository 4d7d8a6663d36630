"""Membership inference: against slow formulas, where membership is certain and where it is absent."""

import math

import numpy as np
import pytest
import torch

from attar.evaluation.audits.intervals import clopper_pearson
from attar.evaluation.audits.membership import (
    advantage,
    area,
    bound_epsilon,
    catch,
    check_rate,
    lira,
    rmia,
    scaled_confidence,
)


def halves(runs: int, examples: int) -> torch.Tensor:
    """Each example in half of the runs."""
    generator = torch.Generator().manual_seed(3)
    return torch.stack([torch.randperm(runs, generator=generator) < runs // 2 for _ in range(examples)], 1)


def draw(shift: float, runs: int = 16, examples: int = 250):
    """φ with a mean of each example's own, raised by `shift` where it is a member; and a population."""
    generator, member = torch.Generator().manual_seed(5), halves(runs, examples)
    own = 3 * torch.randn(examples, dtype=torch.float64, generator=generator)
    noise = torch.randn(runs, examples, dtype=torch.float64, generator=generator)
    population = 3 * torch.randn(400, dtype=torch.float64, generator=generator)
    around = torch.randn(runs, 400, dtype=torch.float64, generator=generator)
    return own + noise + shift * member, member, population + around


def test_the_scaled_confidence_is_the_logit_of_the_probability():
    scores, y = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 5
    p = scores.double().softmax(1)[torch.arange(20), y]
    assert torch.allclose(scaled_confidence(scores, y), torch.log(p / (1 - p)), atol=1e-12)
    far = scaled_confidence(torch.tensor([[900.0, 0.0], [-900.0, 0.0]]), torch.tensor([0, 0]))
    assert far.tolist() == [900, -900]


def test_lira_by_a_slow_formula():
    phi, member, _ = draw(1.0, runs=6, examples=7)
    found = lira(phi, member)
    for i in range(6):
        others = [r for r in range(6) if r != i]
        ends = []
        for kind in (True, False):
            groups = [[phi[r, x].item() for r in others if member[r, x] == kind] for x in range(7)]
            left = sum((value - np.mean(group)) ** 2 for group in groups for value in group)
            variance = left / sum(len(group) - 1 for group in groups)
            ends.append(
                [
                    -((phi[i, x].item() - np.mean(groups[x])) ** 2) / (2 * variance) - math.log(variance) / 2
                    for x in range(7)
                ]
            )
        assert found[i].tolist() == pytest.approx([a - b for a, b in zip(*ends, strict=True)], abs=1e-9)


def test_rmia_by_a_slow_formula():
    phi, member, population = draw(1.0, runs=6, examples=7)
    found, p, z = rmia(phi, member, population), phi.sigmoid(), population.sigmoid()
    for i in range(6):
        others = torch.tensor([r for r in range(6) if r != i])
        rest = z[i] / z[others].mean(0)
        for x in range(7):
            own = member[others, x]
            known = (p[others[own], x].mean() + p[others[~own], x].mean()) / 2
            assert found[i, x].item() == pytest.approx((p[i, x] / known > rest).double().mean().item(), abs=1e-9)


@pytest.mark.parametrize("attack", [lira, lambda phi, member: rmia(phi, member, draw(0)[2])])
def test_nothing_is_told_where_membership_changes_nothing(attack):
    phi, member, _ = draw(0.0)
    scores = attack(phi, member)
    assert area(scores, member) == pytest.approx(0.5, abs=0.03) and advantage(scores, member) < 0.06
    caught = catch(scores, member, 0.01)
    assert caught.true_positives.low < 0.01 < caught.true_positives.high + 0.01
    assert caught.epsilon == 0


def test_all_are_caught_where_membership_is_certain():
    phi, member, population = draw(50.0)
    for scores in (lira(phi, member), rmia(phi, member, population)):
        assert area(scores, member) > 0.95
    caught = catch(lira(phi, member), member, 0.01)
    assert caught.true_positives.value == 1 and caught.true_positives.low > 0.998
    assert caught.false_positives.value == pytest.approx(0.01, abs=1e-9)
    assert advantage(lira(phi, member), member) == 1
    # Of 2,000 members all, of 2,000 others 20: log(0.984 / 0.00219), as few members are let off.
    assert caught.epsilon == pytest.approx(6.11, abs=0.01)


def test_networks_that_agree_to_the_last_bit_tell_nothing():
    assert (lira(torch.zeros(4, 3, dtype=torch.float64), halves(4, 3)) == 0).all()


def test_ties_are_no_catch():
    member = halves(16, 250)
    caught = catch(torch.zeros(16, 250), member, 0.01)
    assert caught.true_positives.value == caught.false_positives.value == 0 and caught.epsilon == 0


def test_a_rate_that_too_few_non_members_cannot_resolve_is_refused():
    check_rate(0.001, 10_000)
    check_rate(0.01, 1000)
    told = r"a false-positive rate of 0.1 % needs at least 10,000 non-members over all runs, and there are 9,999: take"
    with pytest.raises(ValueError, match=told):
        check_rate(0.001, 9_999)
    with pytest.raises(ValueError, match="lies between 0 and 1, and not at 1"):
        check_rate(1.0, 10_000)
    phi, member, _ = draw(0.0)
    with pytest.raises(ValueError, match="needs at least 10,000 non-members"):
        catch(phi, member, 0.001)


def test_the_bound_of_epsilon_holds_for_randomised_response():
    """A bit that is told truly with probability e^ε / (1 + e^ε) is ε-private: the bound comes near, from below."""
    truth = math.e / (1 + math.e)
    bounds = [bound_epsilon((round(truth * n), n), (round((1 - truth) * n), n)) for n in (100, 10_000, 10**7)]
    assert bounds == sorted(bounds) and bounds[-1] == pytest.approx(1, abs=0.01) and bounds[-1] < 1
    rng = np.random.default_rng(0)
    hits = rng.binomial(500, [truth, 1 - truth], (400, 2))
    assert np.mean([bound_epsilon((int(a), 500), (int(b), 500)) > 1 for a, b in hits]) < 0.05


def test_clopper_pearson_by_bisection():
    def tail(p: float, hits: int, trials: int) -> float:
        """P(X ≥ hits) of a binomial number X."""
        return sum(math.comb(trials, i) * p**i * (1 - p) ** (trials - i) for i in range(hits, trials + 1))

    def solve(hits: int, trials: int, level: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, hits, trials) < level else (low, middle)
        return low

    for hits, trials in ((0, 12), (3, 40), (12, 12)):
        found = clopper_pearson(hits, trials)
        assert found.low == pytest.approx(solve(hits, trials, 0.025) if hits else 0, abs=1e-9)
        assert found.high == pytest.approx(solve(hits + 1, trials, 0.975) if hits < trials else 1, abs=1e-9)
