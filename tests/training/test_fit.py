"""A network trained by a protocol is the network of the authors' plain loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import toy

from attar.augment.dsa import Augment, apply
from attar.distances.ridge import centred
from attar.engine.run import Run
from attar.networks.architectures import ConvNet
from attar.rng import Rng
from attar.training.fit import Batch, fit
from attar.training.protocol import Protocol


def literal(x, y, classes, epochs, batch, orders, weights):
    """The authors' loop, plainly: a module, an optimiser that is made anew at the drop, no augmentation."""
    net = ConvNet(tuple(x.shape[1:]), classes)
    net.load_state_dict(weights)
    lr = 0.01
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        for part in orders(epoch).split(batch):
            opt.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            opt.step()
        if epoch == (epochs - 1) // 2 + 1:
            lr *= 0.1
            opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    return net


def test_training_equals_the_literal_loop():
    task = toy()
    x, y = task.normalise(task.train.x), task.train.y
    protocol, rng = Protocol("short dc", "", 9, 32, "half"), Rng.of(4)
    start = {k: v.clone() for k, v in task.network.init(rng.fold("network")).params.items()}

    def orders(epoch):
        return torch.randperm(len(x), generator=rng.fold("order", epoch).generator())

    net = literal(x, y, 3, 9, 32, orders, start)
    w = fit(task.network, x, y, protocol, rng, Run(rng))
    for name, value in net.state_dict().items():
        torch.testing.assert_close(w.params[name], value, rtol=1e-4, atol=1e-6)


def test_thirds_keep_the_momentum():
    task = toy()
    x, y = task.normalise(task.train.x), task.train.y
    protocol, rng = Protocol("short idc", "", 6, 32, "thirds"), Rng.of(4)
    w = fit(task.network, x, y, protocol, rng, Run(rng))
    net = ConvNet((1, 8, 8), 3)
    net.load_state_dict(task.network.init(rng.fold("network")).params)
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [4, 5], 0.2)
    for epoch in range(6):
        for part in torch.randperm(len(x), generator=rng.fold("order", epoch).generator()).split(32):
            opt.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            opt.step()
        schedule.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(w.params[name], value, rtol=1e-4, atol=1e-6)


def test_a_warm_up_of_adam_on_squares_equals_the_literal_loop():
    """Up from 0 over half of the steps, and down along half a cosine; each step of torch's own Adam."""
    task = toy()
    x, y = task.normalise(task.train.x), centred(task.train.y, 3)
    how = {"lr": 1e-3, "weight_decay": 0.0, "optimiser": "adam", "loss": "squares"}
    protocol, rng = Protocol("short frepo", "", 99, 32, "warm-up", steps=9, **how), Rng.of(4)
    w = fit(task.network, x, y, protocol, rng, Run(rng))
    net = ConvNet((1, 8, 8), 3)
    net.load_state_dict(task.network.init(rng.fold("network")).params)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    rates = [0.0, 2 / 9, 4 / 9, 6 / 9, 8 / 9] + [(1 + math.cos(math.pi * part / 9)) / 2 for part in (1, 3, 5, 7)]
    for step, rate in enumerate(rates):
        epoch, i = divmod(step, 3)
        part = torch.randperm(len(x), generator=rng.fold("order", epoch).generator()).split(32)[i]
        opt.zero_grad()
        (0.5 * F.mse_loss(net(x[part]), y[part], reduction="none").sum(1)).mean().backward()
        opt.param_groups[0]["lr"] = 1e-3 * rate
        opt.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(w.params[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("style, kinds", [("dsa", 1), ("dc", 3)])
def test_dc_gives_each_image_its_own_operation_and_dsa_one_to_the_batch(style, kinds):
    x = torch.zeros(60, 1, 9, 9)
    x[:, :, 2, 4] = 1
    protocol = Protocol("one step", "", 1, 60, "half", Augment("flip_scale_turn", style))
    batch = Batch.of(x[None], torch.zeros(1, 60, dtype=torch.long), protocol, protocol.augment, [Rng.of(0)])
    (out,) = batch.show(apply)
    flipped = (out == x).flatten(1).all(1)
    turned = (out[:, :, :, 4].sum((1, 2)) < 0.95) & ~flipped
    assert sum(bool(kind.any()) for kind in (flipped, turned, ~flipped & ~turned)) == kinds
