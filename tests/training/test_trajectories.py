"""Experts: whole trajectories, from the cache or trained, whatever interrupts."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy

from attar.engine.run import Run
from attar.networks.weights import flatten, unflatten
from attar.rng import Rng
from attar.training import trajectories
from attar.training.flatness import Flatness, norm
from attar.training.protocol import NONE
from attar.training.trajectories import Experts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Of the test's own: experts that others have trained are not there."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))


@pytest.fixture
def plain(monkeypatch):
    """Without augmentation, as the slow formulas have none."""
    monkeypatch.setattr(trajectories, "DSA", NONE)


@pytest.fixture
def small():
    return narrow(toy(name="toy"))


def slope(task, params, w):
    params = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss = F.cross_entropy(
        task.network.logits(w._replace(params=params), task.images(torch.arange(72)))[0], task.train.y
    )
    return dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))


def test_an_expert_walks_by_plain_steps(plain, small):
    (ages,) = Experts(1, 3, lr=0.1, batch=72).load(small, Run(Rng.of(0)))
    w = small.network.init(Rng(("expert", 0)).fold("network"))
    params = w.params
    for age in ages:
        torch.testing.assert_close(age.float(), flatten(params), rtol=2e-3, atol=1e-5)
        found = slope(small, params, w)
        params = {name: p - 0.1 * found[name] for name, p in params.items()}
    assert ages.dtype == torch.float16
    apart = torch.cdist(ages.float(), ages.float()) + torch.eye(4)
    assert (apart > 0).all()  # copies: on a CPU a detached tensor would follow the training


def test_a_flat_expert_steps_by_the_gradient_uphill(plain, small):
    (ages,) = Experts(1, 1, Flatness(0.5, 0.3), lr=0.1, batch=72).load(small, Run(Rng.of(0)))
    w = small.network.init(Rng(("expert", 0)).fold("network"))
    here = slope(small, w.params, w)
    scale = 0.5 / norm({name: p.abs() * here[name] for name, p in w.params.items()})
    above = slope(small, {name: p + scale * p**2 * here[name] for name, p in w.params.items()}, w)
    a, b = flatten(here), flatten(above)
    orthogonal = a - (a @ b) / (b @ b) * b
    expected = flatten(w.params) - 0.1 * (b - 0.3 * orthogonal)
    torch.testing.assert_close(ages[1].float(), expected, rtol=2e-3, atol=1e-5)
    shapes = {name: p.shape for name, p in w.params.items()}
    assert unflatten(ages[1], shapes).keys() == w.params.keys()


def test_experts_are_shared_and_differ(small):
    run = Run(Rng.of(0))
    assert Experts(2, 2).stage(small, run).missing == 2
    first = Experts(2, 2).load(small, run)
    assert not torch.equal(first[0], first[1])
    other = Run(Rng.of(5))
    assert Experts(2, 2).stage(small, other).missing == 0
    again = Experts(2, 2).load(small, other)
    assert all(map(torch.equal, first, again)) and len(other.ledger.cached_seconds) == 2
    for changed in (Experts(1, 3), Experts(1, 2, Flatness()), Experts(1, 2, lr=0.1)):
        assert changed.stage(small, run).missing == 1
    mirrored = dataclasses.replace(small, flip=not small.flip)
    assert Experts(1, 2).stage(mirrored, run).missing == 1


def test_an_interrupted_expert_costs_that_expert_only(small):
    seen = []

    def stop(done, total, loss):
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Experts(3, 3).load(small, Run(Rng.of(0), progress=stop))
    assert Experts(3, 3).stage(small, Run(Rng.of(0))).missing == 2


@pytest.mark.parametrize("damage", [b"", b"x" * 100])
def test_a_damaged_expert_is_trained_anew_and_said(damage, small, tmp_path, caplog):
    run = Run(Rng.of(0))
    (first,) = Experts(1, 2).load(small, run)
    (path,) = tmp_path.glob("experts/*.safetensors")
    path.write_bytes(damage)
    (again,) = Experts(1, 2).load(small, run)
    assert torch.equal(first, again) and f"{path} is damaged" in caplog.text
    assert "this expert is trained anew" in caplog.text
    caplog.clear()
    Experts(1, 2).load(small, run)
    assert not caplog.text
