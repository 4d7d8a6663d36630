"""Rank correlations of losses with what a set is worth: against scipy, and from end to end on a toy."""

import pytest
import torch
from conftest import narrow, toy
from scipy.stats import spearmanr

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.evaluation.audits.consistency import Consistency, correlate, discrepancies, rank_correlation
from attar.rng import Rng
from attar.training.protocol import Protocol

BRIEF = Protocol("brief", "for tests", 20, 64, "half")
OPTIONS = {"device": "cpu", "precision": "fp32", "protocol": BRIEF, "seeds": 1}


def test_ranks_correlate_as_scipy_says():
    a, b = torch.randint(6, (2, 30), generator=Rng.of(0).generator()).double()  # with ties
    assert rank_correlation(a[None], b[None]).item() == pytest.approx(spearmanr(a.numpy(), b.numpy()).statistic)
    found = correlate(a, a + 0.01 * b)
    assert found.low <= found.value <= found.high and found.value > 0.9


def test_discrepancies_of_a_batch_with_itself_are_nothing():
    x = torch.randn(2, 8, 5, generator=Rng.of(0).generator(), dtype=torch.float64)
    found = discrepancies(x, x)
    assert {"mean", "moments", "gaussian", "energy", "sliced", "sinkhorn", "characteristic"} <= found.keys()
    assert all(abs(value) < 1e-3 for value in found.values())
    assert all(value > 1e-2 for value in discrepancies(x, x + 3).values())
    assert "moments" not in discrepancies(x[:, :1], x)


def test_noise_that_grows_is_ranked_by_loss_and_by_distance(tmp_path):
    task = narrow(toy(1, 8, (60, 60, 60), contrast=0.5))
    rows = task.first(3).flatten()
    clean, noise = task.raw(rows).float() / 255, torch.rand(9, 1, 8, 8, generator=Rng.of(0).generator())
    sets = [CondensedSet.of(task, clean.lerp(noise, i / 10), task.train.y[rows]) for i in range(11)]
    found = attar.audit(sets, task, consistency=Consistency(reference=90), out=tmp_path / "out", **OPTIONS)
    values = {row.name: row.value for row in found}
    assert values["gaussian, pixels"] > 0.8 and values["mean, unlearned features"] > 0.5
    assert {row.method for row in found} == {"11 sets"}
    with pytest.raises(ValueError, match="ranks at least 10 sets, not 2"):
        attar.audit(sets[:2], task, consistency=True, **OPTIONS)
    larger = attar.condense(task, "random", 4)
    with pytest.raises(ValueError, match="compares sets of equal size"):
        attar.audit([*sets, larger], task, consistency=True, **OPTIONS)
