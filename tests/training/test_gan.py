"""A generator trained against a critic: its losses by a slow formula, and the cache."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy

from attar.cli.status import tell
from attar.engine.ledger import read_ledger
from attar.engine.run import Run
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training import gan as training
from attar.training.gan import Gan, Losses, Opponent, Pair, fool, make_families

FEW = Gan(2, lr=1e-3, batch=24, critic=2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Of the test's own: generators that others have trained are not there."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))


@pytest.fixture
def drawn(exact):
    """A pair of a toy in float64, and a batch."""
    generator, critic = make_families(exact)
    pair = Pair(generator.init(Rng.of(1)), critic.init(Rng.of(2)))
    x, y = 2 * exact.train.x[:5] - 1, exact.train.y[:5]
    z, share = training.draw(x, generator.template.codes, Rng.of(3))
    return Losses(generator, critic, 10.0), pair, x, y, z, share


def by_autograd(loss, params):
    return dict(zip(params, torch.autograd.grad(loss, list(params.values()), allow_unused=True), strict=True))


def follow(w):
    return Weights({name: p.clone().requires_grad_() for name, p in w.params.items()}, w.buffers)


def test_the_critics_gradient_is_that_of_a_slow_formula(drawn):
    losses, pair, x, y, z, share = drawn
    w, fake = follow(pair.critic), losses.generator.call(pair.generator, z, y)
    between = (x + share * (fake - x)).requires_grad_()
    norms = []
    for i in range(5):  # an image at a time
        judged, _ = losses.critic.call(w, between[i : i + 1])
        (slope,) = torch.autograd.grad(judged.sum(), between, create_graph=True)
        norms.append(slope[i].square().sum().sqrt())
    penalty = (torch.stack(norms) - 1).square().mean()
    (real, scores), (made, made_scores) = losses.critic.call(w, x), losses.critic.call(w, fake)
    known = F.cross_entropy(scores, y) + F.cross_entropy(made_scores, y)
    expected = by_autograd(made.mean() - real.mean() + known + 10 * penalty, w.params)
    found = losses.learn_critic(pair, x, y, z, share)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)


def test_the_generators_gradient_is_autograds(drawn):
    losses, pair, _, y, z, _ = drawn
    w = follow(pair.generator)
    judged, scores = losses.critic.call(pair.critic, losses.generator.call(w, z, y))
    expected = by_autograd(F.cross_entropy(scores, y) - judged.mean(), w.params)
    found = losses.learn_generator(pair, y, z)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)


def test_a_critic_that_learns_on_steps_as_adam_does(drawn):
    losses, pair, x, y, z, share = drawn
    params = {name: p.clone().requires_grad_() for name, p in pair.critic.params.items()}
    opt = torch.optim.Adam(params.values(), lr=1e-3, betas=training.BETAS)
    opponent = Opponent(losses.critic, pair.critic)
    for _ in range(3):
        gradient = losses.learn_critic(Pair(pair.generator, opponent.w()), x, y, z, share)
        training.step(opt, params, {name: g.clone() for name, g in gradient.items()})
        opponent.step(gradient, 1e-3)
    for name, p in opponent.w().params.items():
        torch.testing.assert_close(p, params[name].detach(), rtol=1e-9, atol=1e-12)


def test_in_float32_the_penalty_is_the_same(drawn):
    losses, pair, x, _, _, _ = drawn
    exact = losses.steepness(pair.critic, x)
    short = Weights({name: p.float() for name, p in pair.critic.params.items()}, {})
    torch.testing.assert_close(losses.steepness(short, x.float()).double(), exact, rtol=1e-5, atol=1e-6)


def test_training_fools_the_critic_less_and_shows_classes():
    """What is generated of a class is brighter in its own band of rows, as its real images are."""
    task = narrow(toy(name="toy"))
    w = Gan(60, lr=2e-3, batch=72).load(task, Run(Rng.of(0)))
    generator, critic = make_families(task)
    y = torch.arange(3).repeat_interleave(20)
    z, _ = training.draw(torch.empty(60, *task.shape), generator.template.codes, Rng.of(1))
    x = generator.call(w.generator, z, y)
    bands = torch.stack([x[y == c].mean((0, 1, 3)) for c in range(3)])  # (class, row)
    rows = [0, 3, 6]
    assert bands[:, rows].argmax(0).tolist() == [0, 1, 2]
    assert fool(critic.call, w.critic, x, y).isfinite()


def test_a_generator_is_shared_by_runs_and_networks_and_trained_anew_for_other_settings(caplog):
    task = narrow(toy(name="toy"))
    assert FEW.stage(task, Run(Rng.of(0))).missing == 1
    seen = []
    first = FEW.load(task, Run(Rng.of(0), progress=lambda done, total, loss: seen.append((done, total))))
    assert {done for done, _ in seen} == {*range(1, 7)} and {total for _, total in seen} == {6}
    assert "generators to train first: 1, epochs each: 2 (" in caplog.text
    other = Run(Rng.of(5))
    assert FEW.stage(toy(name="toy", architecture="mlp"), other).missing == 0
    again = FEW.load(task, other)
    assert all(torch.equal(p, again.generator.params[name]) for name, p in first.generator.params.items())
    assert all(torch.equal(p, again.critic.params[name]) for name, p in first.critic.params.items())
    assert len(other.ledger.cached_seconds) == 1
    for changed in (Gan(3, 1e-3, 24, 2), Gan(2, 1e-4, 24, 2), Gan(2, 1e-3, 12, 2), Gan(2, 1e-3, 24, 1)):
        assert changed.stage(task, other).missing == 1
    assert FEW.stage(toy(seed=1), other).missing == 1


@pytest.mark.parametrize("damage", [b"", b"x" * 100])
def test_a_damaged_generator_is_trained_anew_and_said(damage, caplog, tmp_path):
    task, run = narrow(toy(name="toy")), Run(Rng.of(0))
    FEW.load(task, run)
    (path,) = tmp_path.glob("generators/*.safetensors")
    path.write_bytes(damage)
    FEW.load(task, run)
    assert "this generator is trained anew" in caplog.text
    caplog.clear()
    FEW.load(task, run)
    assert not caplog.text


def test_what_runs_away_is_caught_and_never_kept():
    task = narrow(toy(name="toy"))
    with pytest.raises(ValueError, match=r"the generator's training became non-finite: a smaller lr_gan helps"):
        Gan(3, lr=1e30, batch=24).load(task, Run(Rng.of(0)))
    assert Gan(3, lr=1e30, batch=24).stage(task, Run(Rng.of(0))).missing == 1


def test_a_rehearsal_keeps_nothing():
    task, gan = narrow(toy(seed=7)), Gan(1, batch=24)
    gan.load(task, Run(Rng.of(0), rehearsal=True))
    assert gan.stage(task, Run(Rng.of(0))).missing == 1


def test_a_status_tells_of_it(tmp_path):
    task = narrow(toy(name="toy"))
    FEW.load(task, Run(Rng.of(0)))
    (told,) = tell(tmp_path / "generators")
    assert told.startswith("done: 1 of 1 pieces in ")
    (entry,) = read_ledger(tmp_path / "generators").values()
    assert entry.name == "ConvGenerator on toy, epochs: 2" and entry.steps == 6


def test_a_users_network_without_a_key_takes_it_from_the_cache():
    task = toy(name="toy")
    FEW.load(task, Run(Rng.of(0)))
    assert (
        FEW.stage(dataclasses.replace(task, network=Network(lambda: task.network.build())), Run(Rng.of(0))).missing == 0
    )
