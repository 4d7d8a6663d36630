"""A ring of networks that learn a little at a time."""

import pytest
import torch
import torch.nn.functional as F

from attar.engine.run import Run
from attar.rng import Rng
from attar.training.pool import Pool
from attar.training.train import Adam, train


def test_a_pools_networks_learn_as_torch_does(exact):
    pool, run = Pool(exact.network, 2), Run(Rng.of(0))
    for i in range(2):
        pool.push(exact.network.init(Rng.of(i)))
    module = exact.network.build()
    module.load_state_dict({name: p.clone() for name, p in pool.at(1)[0].params.items()})
    opt = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    right = 0
    for t in range(3):
        x, y = exact.sample(range(3), 4, Rng.of(t)).flatten(0, 1), torch.arange(3).repeat_interleave(4)
        scores = module(x)
        right += int((scores.argmax(1) == y).sum())
        opt.zero_grad()
        F.cross_entropy(scores, y).backward()
        opt.step()
        w, state = pool.at(1)
        pool.put(1, *train(exact.network, w, x, y, steps=1, rng=Rng.of(t), run=run, state=state))
    for name, expected in module.named_parameters():
        torch.testing.assert_close(pool.at(1)[0].params[name], expected.detach(), rtol=1e-10, atol=1e-12)
    assert pool.accuracy(1) == pytest.approx(100 * right / 36) and pool.accuracy(0) == 0


def test_a_pool_goes_on_from_adams_moments(exact):
    """As one training without a pool in between, and anew where another takes the place."""
    adam, run, x, y = Adam(1e-2), Run(Rng.of(0)), exact.images(torch.arange(6)), exact.train.y[:6]
    pool = Pool(exact.network, 2, adam)
    for i in range(2):
        pool.push(exact.network.init(Rng.of(i)))
    for _ in range(3):
        w, state = pool.at(1)
        pool.put(1, *train(exact.network, w, x, y, steps=1, optimiser=adam, rng=Rng.of(0), run=run, state=state))
    whole, _ = train(
        exact.network, exact.network.init(Rng.of(1)), x, y, steps=3, optimiser=adam, rng=Rng.of(0), run=run
    )
    assert all(torch.equal(pool.at(1)[0].params[name], p) for name, p in whole.params.items())
    assert int(pool.at(1)[1].velocity.steps) == 3 and int(pool.at(0)[1].velocity.steps) == 0
    pool.renew(1, exact.network.init(Rng.of(2)))
    assert int(pool.at(1)[1].velocity.steps) == 0 and not pool.velocity[1].any()


def test_a_network_is_its_own_row(exact):
    pool = Pool(exact.network, 3)
    for i in range(3):
        pool.push(exact.network.init(Rng.of(i)))
    before = pool.weights.clone()
    w, state = pool.at(2)
    changed = w._replace(params={name: p + 1 for name, p in w.params.items()})
    pool.put(1, changed, state._replace(tally=torch.tensor([3, 4])))
    assert torch.equal(pool.weights[[0, 2]], before[[0, 2]]) and torch.equal(pool.weights[1], before[2] + 1)
    assert [float(pool.accuracy(i)) for i in range(3)] == [0, 75, 0]


def test_the_newest_network_takes_the_oldests_place(task):
    def bias(w):
        return float(w.params["head.bias"][0])

    pool = Pool(task.network, 3)
    for i in range(5):
        if pool.due(2):
            pool.push(task.network.init(Rng.of(i)))
        assert len(pool) == min(3, i // 2 + 1)
    kept = {bias(pool.at(i)[0]) for i in range(3)}
    assert kept == {bias(task.network.init(Rng.of(i))) for i in (0, 2, 4)}
    w, state = pool.at(0)
    pool.put(0, w, state._replace(tally=torch.tensor([1, 2])))
    pool.push(task.network.init(Rng.of(7)))
    assert bias(pool.at(0)[0]) == bias(task.network.init(Rng.of(7)))
    assert pool.accuracy(0) == 0


def test_the_order_in_which_parameters_come_does_not_matter(task):
    pool, w = Pool(task.network, 1), task.network.init(Rng.of(0))
    pool.push(w._replace(params=dict(sorted(w.params.items(), reverse=True))))
    assert all(torch.equal(pool.at(0)[0].params[name], value) for name, value in w.params.items())
