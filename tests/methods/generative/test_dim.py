"""DiM: its loss by a slow formula, whole lives of networks from a pool, and a set that is a generator."""

import dataclasses
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy, watch_updates

import attar
from attar.data.normalisation import unit
from attar.engine.run import Run
from attar.methods.generative import dim
from attar.methods.generative.dim import DiM, choose
from attar.networks.generator import Generator, make_critic
from attar.networks.network import Network
from attar.networks.weights import Weights, flatten
from attar.rng import Rng
from attar.runs.recipe import resolve
from attar.training.gan import Losses, draw
from attar.training.protocol import PROTOCOLS


def small(**settings):
    return resolve("dim", "toy", 2, settings).method


def test_the_first_loss_and_gradient_are_those_of_a_slow_formula(exact, monkeypatch):
    """In float64, without augmentation, under a network that has not learned."""
    monkeypatch.setattr(dim, "train", lambda network, w, x, y, *, state, **_: (w, state))
    task, method, run = narrow(exact), small(updates=1, augment="", lr=0.0, match=3.0), Run(Rng.of(4))
    ((loss, (gradient,)),) = watch_updates(method, task, 2, run)
    rng, about = run.rng.fold("episode", 0), (task.shape, 3)
    pair, family, critic = method.plan_gan().load(task, run), Generator.own(*about), make_critic(*about)
    rows = choose(method.batch_real, task, rng.fold("real"))
    real, y = unit(task.train.x[rows]), task.train.y[rows]
    params = {name: p.clone().requires_grad_() for name, p in pair.generator.params.items()}
    z, _ = draw(real, family.codes, rng)
    made = family.images(Weights(params, {}), z, y)
    w = task.network.init(rng.fold("network"))
    scores = [task.network.scores(w, task.normalisation.to_network(x)) for x in (made, real)]
    a, b = (F.log_softmax(each, 1) for each in scores)
    apart = sum((a[i, c] - b[i, c]) ** 2 for i in range(len(y)) for c in range(3)) / (3 * len(y))
    judged, classified = critic.call(pair.critic, 2 * made - 1)
    expected = -judged.mean() + F.cross_entropy(classified, y) + 3 * apart
    found = torch.autograd.grad(expected, [params[name] for name, _ in family.pure.template.named_parameters()])
    torch.testing.assert_close(loss, expected.float().detach().to(loss.dtype), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, torch.cat([g.flatten() for g in found]), rtol=1e-10, atol=1e-10)


def test_networks_of_the_pool_take_turns_and_learn(monkeypatch):
    taught = []

    def learn(network, w, x, y, *, steps, batch, state, **_):
        taught.append((network.name, len(x), steps, batch, flatten(w.params).clone()))  # a pool writes there again
        return w, state

    monkeypatch.setattr(dim, "train", learn)
    small(pool="convnet_lenet", updates=12)(toy(side=16), 1, Run(Rng.of(0)))
    assert len(taught) == 12
    assert {known[:4] for known in taught} == {("ConvNet", 16, 2, 8), ("LeNet", 16, 2, 8)}
    starts = [known[4] for known in taught]
    for first, second in zip(starts[::2], starts[1::2], strict=True):  # two updates share a network
        assert torch.equal(first, second)
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in pairwise(starts[::2]))


def test_the_critic_learns_on(monkeypatch):
    seen, fool = [], dim.fool

    def watch(judge, w, x, y):
        seen.append(flatten(w.params).clone())
        return fool(judge, w, x, y)

    monkeypatch.setattr(dim, "fool", watch)
    small(updates=3)(narrow(toy()), 1, Run(Rng.of(0)))
    assert len(seen) == 3 and not any(torch.equal(a, b) for a, b in pairwise(seen))


def test_the_critics_step_keeps_no_graph_of_the_generator(monkeypatch):
    seen, learn = [], Losses.learn_critic
    monkeypatch.setattr(Losses, "learn_critic", lambda losses, pair, *x: seen.append(pair) or learn(losses, pair, *x))
    small(updates=2)(narrow(toy()), 1, Run(Rng.of(0)))
    assert seen and not any(p.requires_grad for pair in seen for w in pair for p in w.params.values())


def test_a_pool_that_cannot_be_is_refused_before_a_generator_is_trained(monkeypatch):
    monkeypatch.setattr(dim.DiM, "plan_gan", None)
    with pytest.raises(ValueError, match="unknown network 'nothing'"):
        small(pool="convnet_nothing")(toy(), 1, Run(Rng.of(0)))
    with pytest.raises(ValueError, match="ResNet-18 takes images of at least 9 pixels a side"):
        DiM(epochs=1, batch_gan=24)(toy(), 1, Run(Rng.of(0)))  # which takes no images of 8 pixels


def test_what_comes_is_a_generator_that_moved_and_whose_bytes_do_not_grow(tmp_path):
    task, run = narrow(toy()), Run(Rng.of(0))
    one = small()(task, 1, run)
    ten = attar.condense(task, "dim", 10, out=tmp_path / "run", **dict(vars(small())))
    assert one.generative and ten.generative and torch.equal(attar.load(tmp_path / "run").images, ten.images)
    assert ten.bytes["stored"] == one.bytes["stored"] == one.decoder.bytes
    before = small().plan_gan().load(task, run).generator.params
    assert all(not torch.equal(p, one.decoder.weights[name]) for name, p in before.items())
    rows = attar.evaluate(ten, task, protocol=dataclasses.replace(PROTOCOLS["dim"], epochs=1), seeds=1)
    assert rows[0].generator and rows[0].ipc == 10


def test_a_network_of_the_pool_is_as_large_as_the_task_wants():
    assert [type(each) for each in small().list_networks(narrow(toy()))] == [Network]
    names = [each.name for each in small(pool="convnet_lenet").list_networks(toy(side=16))]
    assert names == ["ConvNet", "LeNet"]
