"""Attar's loops against the published ones, plainly written: the same random numbers, in float64, the same results.

Sources, besides the authors' code: DM (Zhao & Bilen, WACV 2023), M3D (Zhang et al., AAAI 2024), DANCE (Zhang et al.,
IJCAI 2024), IDM (Zhao et al., CVPR 2023), NCFM (Wang et al., CVPR 2025), CAFE (Wang et al., CVPR 2022), herding
(Welling, ICML 2009), k-center (Sener & Savarese, ICLR 2018).
"""

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attar.augment.dsa import Augment, apply
from attar.data.task import Examples
from attar.distances.characteristic import Sampler
from attar.engine.run import Run
from attar.methods._views import Views
from attar.methods.distribution.cafe import CAFE, layer_means
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.dm import DM
from attar.methods.distribution.idm import IDM
from attar.methods.distribution.m3d import M3D
from attar.methods.distribution.ncfm import NCFM
from attar.methods.selection.herding import herd
from attar.methods.selection.k_center import farthest_first
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.fit import fit, fit_together
from attar.training.pretrained import draw_between, pretrain
from attar.training.protocol import PROTOCOLS

SEED = Rng.of(3)


@pytest.fixture(autouse=True)
def literal(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


def losses(method, task, ipc, **options):
    found = []
    method(task, ipc, Run(SEED, progress=lambda done, total, loss: found.append(loss), **options))
    return found


def grey(task):
    """Far from where pixels are clamped."""
    return dataclasses.replace(task, train=Examples(0.3 + 0.4 * task.train.x, task.train.y))


def test_dm(exact):
    from literal.matching import dm

    method = DM(updates=3, batch_real=6)
    found = method(exact, 2, Run(SEED)).images.unflatten(0, (3, 2))
    torch.testing.assert_close(found, dm(method, exact, 2, SEED), rtol=1e-9, atol=1e-9)


def test_m3d_steps_once_for_all_classes(exact):
    """Between its steps a class drifts on by momentum: so images agree where losses are taken, not at the end."""
    from literal.matching import m3d

    method, task, expected = M3D(updates=6, batch_real=6, ipm=2, lr=0.05), grey(exact), []
    m3d(method, task, 2, SEED, lambda done, total, loss: expected.append(loss))
    assert losses(method, task, 2) == pytest.approx(expected, rel=1e-9)


def start(method, task, ipc):
    return Pixels.start(task, ipc, Run(SEED), init=method.init, factor=method.factor, space=method.space)


def module_of(task, w):
    module = task.network.build()
    module.load_state_dict(w.params)
    return module


def shown(method, task, syn, rng):
    """For each class its real and its synthetic images, augmented alike."""
    draw = Augment(method.augment, method.style).without_flip().draw(3, task.shape, rng.fold("augment"))
    indices = task.indices(range(3), method.batch_real, rng.fold("real"))
    for c in range(3):
        real, made = (apply(x, draw.rows([c]))[0] for x in (task.images(indices[c : c + 1]), syn.of([c])))
        yield real, made, torch.full((len(made),), c)


def stepped(loss, *optimisers):
    """What the loss was, before a step of each down, or up, its gradient."""
    for opt in optimisers:
        opt.zero_grad()
    loss.backward()
    for opt in optimisers:
        opt.step()
    return loss.item()


def steps_once_a_class(method, task, ipc, lr, guide):
    """Losses by the means of features and a judge's opinion.

    There is a step of SGD for each class, on the tensor that holds all.
    """
    syn, found = start(method, task, ipc), []
    opt = torch.optim.SGD(syn.parameters(), lr=lr, momentum=method.momentum)
    for t in range(method.updates):
        rng, total = SEED.fold("episode", t), 0.0
        network, judge, weight = guide(rng)
        for real, made, labels in shown(method, task, syn, rng.fold(0)):
            apart = (network.body(made).mean(0) - network.body(real).mean(0)).square().sum()
            total += stepped(apart + weight * F.cross_entropy(judge(made), labels), opt)
        found.append(total)
    return found


def between_ends(task, method):
    """A network on the way from its start to its end, and the end."""
    pairs = pretrain(task, Run(SEED), method.models, method.epochs)

    def guide(rng):
        w, end = draw_between(pairs, rng.fold("network", 0))
        return module_of(task, w), module_of(task, end), method.calibration

    return guide


def test_dance(exact):
    method, task = DANCE(updates=4, lr=0.002, batch_real=6, models=2, epochs=1, calibration=0.7), grey(exact)
    expected = steps_once_a_class(method, task, 2, 2 * method.lr, between_ends(task, method))
    assert losses(method, task, 2) == pytest.approx(expected, rel=1e-9)


class Sharpened(nn.Module):
    """Does not end in its classifier, so that features and scores take a pass each."""

    def __init__(self, shape, classes):
        super().__init__()
        self.head = nn.Linear(math.prod(shape), classes)

    def forward(self, x):
        return 3 * self.head(x.flatten(1))

    def body(self, x):
        """What it gives without its classifier."""
        return 3 * x.flatten(1)


@pytest.mark.parametrize("chunk", [256, 4])
@pytest.mark.parametrize("network", [ConvNet, Sharpened])
def test_idm(network, chunk, exact):
    """Networks join and learn as the images do, and judge by how much they know."""
    exact = dataclasses.replace(exact, network=Network(lambda: network(exact.shape, 3)))
    settings = {"capacity": 4, "interval": 2, "learners": 2, "steps": 3, "batch_train": 8}
    method, task = IDM(updates=6, lr=0.02, batch_real=6, calibration=0.01, **settings), grey(exact)
    queue, places = [], itertools.cycle(range(4))

    def join(rng):
        module = module_of(task, task.network.init(rng))
        opt = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        place = next(places)
        queue[place : place + 1] = [[module, opt, 0, 0]]  # and how many images it has seen, and got right

    def some(k, n, rng):
        return torch.randperm(n, generator=rng.generator())[:k].tolist()

    def guide(rng):
        t = rng.path[-1]
        if t > 0:
            learn(SEED.fold("episode", t - 1))
        if t % 2 == 0:
            join(rng.fold("push"))
        (i,) = some(1, len(queue), rng.fold("network", 0))
        module, _, seen, right = queue[i]
        return module, module, 0.01 * 100 * right / max(1, seen)

    def learn(rng):
        for i in some(2, len(queue), rng.fold("learners")):
            module, opt, *_ = queue[i]
            for t in range(3):
                batch = some(8, len(task.train.y), rng.fold("train", i, t))
                scores, labels = module(task.images(torch.tensor(batch))), task.train.y[batch]
                queue[i][2] += 8
                queue[i][3] += int((scores.argmax(1) == labels).sum())
                stepped(F.cross_entropy(scores, labels), opt)

    for i in range(3):
        join(SEED.fold("start", i))
    expected = steps_once_a_class(method, task, 2, method.lr, guide)
    assert losses(method, task, 2, chunk=chunk) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sampler", [True, False])
def test_ncfm(exact, sampler):
    """AdamW goes down and the sampler up the sum of all classes' losses."""
    settings = {"models": 2, "epochs": 1, "calibration": 0.7, "frequencies": 32, "repeat": 4, "amplitude": 0.4}
    settings |= {"sampler": sampler, "sampler_lr": 0.1}
    method, task = NCFM(updates=4, lr=0.01, batch_real=6, **settings), grey(exact)
    syn, guide, expected = start(method, task, 2), between_ends(task, method), []
    width = task.network.width(task.shape)
    opt = torch.optim.AdamW(syn.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=5e-4)
    proposing = Sampler(width, SEED.fold("sampler"), lr=0.0)
    climb = torch.optim.SGD(proposing.parameters(), lr=0.1, momentum=0.5, maximize=True)
    for t in range(method.updates):
        rng, loss = SEED.fold("episode", t), 0.0
        network, judge, weight = guide(rng)
        noise = torch.randn(8 if sampler else 32, width, generator=rng.fold(0, "discrepancy", 0).generator())
        frequencies = proposing(noise) if sampler else noise
        for real, made, labels in shown(method, task, syn, rng.fold(0)):
            r, s = (torch.exp(1j * (F.normalize(network.body(x)) @ frequencies.T)).mean(0) for x in (real, made))
            turned = 2 * (r.abs() * s.abs() - (r * s.conj()).real)
            apart = 300 * (0.4 * (r.abs() - s.abs()).square() + 0.5 * turned).sqrt().mean()
            loss = loss + apart + weight * F.cross_entropy(judge(made), labels)
        expected.append(stepped(loss, opt, climb))
    assert losses(method, task, 2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("augment", ["", "color_crop_cutout_flip_scale_rotate"], ids=["cafe", "cafe+dsa"])
def test_cafe(exact, augment):
    """One network learns from the images by plain SGD, augmented as they are, while their steps are halved."""
    settings = {"window": 2, "most": 3, "inner": 2.0, "outer": 0.0, "query": 4, "batch_train": 4}
    method, expected = CAFE(updates=6, batch_real=6, lr=0.05, augment=augment, **settings), []
    syn, dsa = start(method, exact, 2), Augment(augment).without_flip()
    views, means = Views.of(exact, syn, Run(SEED), dsa, batch=6), layer_means(exact.network)
    opt = torch.optim.SGD(syn.parameters(), lr=0.05, momentum=0.5)
    halving = torch.optim.lr_scheduler.MultiStepLR(opt, [4, 5], 0.5)  # 0.6, 0.8 and 0.9 of six updates
    module = module_of(exact, exact.network.init(SEED.fold("episode", 0).fold("network")))
    learn = torch.optim.SGD(module.parameters(), lr=0.01)
    for t in range(method.updates):
        rng = SEED.fold("episode", t)
        for epoch in range(3 if t else 0):
            stream = rng.fold("train").fold(epoch)
            x, y = (part.detach() for part in syn())
            for i, batch in enumerate(torch.randperm(6, generator=stream.generator()).split(4)):
                draw = dsa.draw(len(batch), exact.shape, stream.fold(i), same_op=True)
                images = apply(x[batch][:, None], draw)[:, 0] if augment else x[batch]
                stepped(F.cross_entropy(module(images), y[batch]), learn)
        w = Weights({name: p.detach() for name, p in module.named_parameters()}, {})
        expected.append(stepped(sum(method.terms(means, w, views.draw(rng))), opt))
        halving.step()
    assert losses(method, exact, 2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["dm", "dc-mnist", "idc"])
def test_training(exact, name):
    from literal.training import train

    protocol = dataclasses.replace(PROTOCOLS[name], epochs=6, batch=20)
    x, y = exact.normalise(exact.train.x[:30]), exact.train.y[:30]
    w = fit(exact.network, x, y, protocol, Rng.of(5), Run(Rng.of(5)), flip=exact.flip)
    for key, expected in train(exact, x, y, protocol, Rng.of(5)).named_parameters():
        torch.testing.assert_close(w.params[key], expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name, compile", [("dm", "off"), ("idc", "off"), pytest.param("dm", "on", marks=pytest.mark.slow)]
)
def test_networks_trained_together_are_those_trained_alone(exact, name, compile, unchecked):
    protocol = dataclasses.replace(PROTOCOLS[name], epochs=5, batch=15)
    x, y, rngs = exact.normalise(exact.train.x[:30]), exact.train.y[:30], [Rng.of(i) for i in range(3)]
    together = fit_together(exact.network, x, y, protocol, rngs, Run(Rng.of(5), compile=compile))
    for w, rng in zip(together, rngs, strict=True):
        alone = fit(exact.network, x, y, protocol, rng, Run(Rng.of(5)))
        for key, expected in alone.params.items():
            torch.testing.assert_close(w.params[key], expected, rtol=1e-9, atol=1e-9)


def test_selection():
    from literal import selection

    f = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    assert herd(f, 20).tolist() == selection.herd(f, 20)
    assert farthest_first(f, 20).tolist() == selection.farthest_first(f, 20)
