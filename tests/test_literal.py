"""Attar's loops against the published ones, plainly written: the same random numbers, in float64, the same results."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from attar.discrepancies import Discrepancy
from attar.fit import fit, fit_together
from attar.matching import Matching
from attar.methods.dm import DM
from attar.methods.herding import herd
from attar.methods.k_center import farthest_first
from attar.methods.m3d import M3D
from attar.protocol import PROTOCOLS
from attar.rng import Rng
from attar.run import Run
from attar.task import Examples


@pytest.fixture(autouse=True)
def literal(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


def images(method, task, ipc):
    return method(task, ipc, Run(Rng.of(3))).images.unflatten(0, (len(task.classes), ipc))


def test_dm(exact):
    from literal.matching import dm

    method = DM(updates=3, batch_real=6)
    torch.testing.assert_close(images(method, exact, 2), dm(method, exact, 2, Rng.of(3)), rtol=1e-9, atol=1e-9)


def test_m3d_steps_once_for_all_classes(exact):
    """Between its steps a class drifts on by momentum, so the images agree where their losses are taken, not at the end."""
    from literal.matching import m3d

    grey = dataclasses.replace(exact, train=Examples(0.3 + 0.4 * exact.train.x, exact.train.y))  # far from where pixels are clamped
    method, losses = M3D(updates=6, batch_real=6, ipm=2, lr=0.05), ([], [])
    method(grey, 2, Run(Rng.of(3), progress=lambda done, total, loss: losses[0].append(loss)))
    m3d(method, grey, 2, Rng.of(3), lambda done, total, loss: losses[1].append(loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.parametrize("name", ["dm", "dc-mnist", "idc"])
def test_training(exact, name):
    from literal.training import train

    protocol = dataclasses.replace(PROTOCOLS[name], epochs=6, batch=20)
    x, y = exact.normalise(exact.train.x[:30]), exact.train.y[:30]
    w = fit(exact.network, x, y, protocol, Rng.of(5), Run(Rng.of(5)), flip=exact.flip)
    for key, expected in train(exact, x, y, protocol, Rng.of(5)).named_parameters():
        torch.testing.assert_close(w.params[key], expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name, compile", [("dm", "off"), ("idc", "off"), ("dm", "on")])
def test_networks_trained_together_are_those_trained_alone(exact, name, compile, unchecked):
    protocol = dataclasses.replace(PROTOCOLS[name], epochs=5, batch=15)
    x, y, rngs = exact.normalise(exact.train.x[:30]), exact.train.y[:30], [Rng.of(i) for i in range(3)]
    together = fit_together(exact.network, x, y, protocol, rngs, Run(Rng.of(5), compile=compile))
    for w, rng in zip(together, rngs, strict=True):
        alone = fit(exact.network, x, y, protocol, rng, Run(Rng.of(5)))
        for key, expected in alone.params.items():
            torch.testing.assert_close(w.params[key], expected, rtol=1e-9, atol=1e-9)


def test_selection():
    import literal.selection as literal

    f = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    assert herd(f, 20).tolist() == literal.herd(f, 20)
    assert farthest_first(f, 20).tolist() == literal.farthest_first(f, 20)


def test_several_networks_give_the_mean_of_their_losses(exact):
    pair = Matching.of(DM(updates=1, networks=2, batch_real=6), exact, 2, Run(Rng.of(0)))
    guides, view = pair.guides(Rng.of(1)), pair.view(Rng.of(2))
    both = torch.stack(list(pair.terms(guides, view, [None, None], None))).sum()
    alone = [sum(pair.terms([guide], pair.view(Rng.of(2)), [None], None)) for guide in guides]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)


def test_a_kept_real_batch_is_read_once_for_its_networks_life(exact):
    counts = {}
    for keep in (False, True):
        reads = counts[keep] = []
        pair = Matching.of(DM(updates=1, ipm=3, keep_real=keep, batch_real=6), exact, 1, Run(Rng.of(0)))
        pair = dataclasses.replace(pair, discrepancy=Discrepancy(lambda s, r: r.mean((1, 2))))
        for terms in pair.episode(pair.syn, Rng.of(4)):
            reads += [term.item() for term in terms]
    assert len(set(counts[False])) == 3 and len(set(counts[True])) == 1 and counts[True][0] == counts[False][0]


def test_warm_networks_know_something(exact):
    x, y = exact.normalise(exact.train.x), exact.train.y
    losses = []
    for warm in (0, 30):
        pair = Matching.of(DM(updates=1, warm=warm), exact, 1, Run(Rng.of(0)))
        ((w, _, _),) = pair.guides(Rng.of(6))
        assert not any(p.requires_grad for p in w.params.values())
        losses.append(F.cross_entropy(exact.network.logits(w, x)[0], y).item())
    assert losses[1] < losses[0] - 0.1


def test_what_never_runs_is_no_engine(exact):
    run = Run(Rng.of(0))
    Matching.of(DM(updates=1), exact, 1, run)
    assert run.engines == {"eager": 3 * (24 + 2) * exact.network.flop(exact.shape)}


def test_adams_steps_do_not_grow_with_the_budget(exact):
    start = M3D(updates=1, lr=0.0, optimiser="adam", factor=1, batch_real=4)(exact, 4, Run(Rng.of(0))).images
    moved = M3D(updates=1, lr=0.01, optimiser="adam", factor=1, batch_real=4)(exact, 4, Run(Rng.of(0))).images
    assert 0.005 < (moved - start).abs().max() <= 0.0101


def test_an_average_is_of_what_networks_saw(exact):
    method = M3D(updates=4, lr=5.0, average=0.5, batch_real=4)
    made = method(exact, 1, Run(Rng.of(0)))
    assert made.images.min() >= 0 and made.images.max() <= 1
    pair = Matching.of(method, exact, 1, Run(Rng.of(0)))
    pair.syn.put_(pair.syn.images + 1)
    assert pair.syn.clamped().max() == 1


def test_equal_images_are_picked_in_order():
    f = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)).repeat(4, 1) + 100
    picked = farthest_first(f, 12).tolist()
    assert sorted(picked) == list(range(12)) and {i % 3 for i in picked[:3]} == {0, 1, 2}
