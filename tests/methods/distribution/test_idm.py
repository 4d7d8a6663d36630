"""What IDM computes, and what its networks learn."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from first_updates import first_update, images, interrupt
from torch import nn

from attar.engine.run import Run
from attar.methods.distribution import idm
from attar.methods.distribution.idm import IDM, choose
from attar.networks.network import Network
from attar.networks.weights import TRAINING
from attar.rng import Rng
from attar.training.pool import Pool

SETTINGS = {"batch_real": 4, "factor": 1, "capacity": 4, "learners": 1, "steps": 1, "batch_train": 4}


class Sharpened(nn.Module):
    """Does not end in its classifier."""

    def __init__(self, shape, classes):
        super().__init__()
        c, h, w = shape
        self.head = nn.Linear(c * h * w, classes)

    def forward(self, x):
        return 3 * self.head(x.flatten(1))


@pytest.fixture(params=["convnet", "sharpened"])
def judged(exact, request):
    """A task whose network gives features and scores in one pass, and one whose network cannot."""
    if request.param == "convnet":
        return exact
    return dataclasses.replace(exact, network=Network(lambda: Sharpened(exact.shape, 3)))


@pytest.mark.parametrize("chunk", [256, 4])
def test_a_network_adds_its_cross_entropy_by_its_accuracy_in_per_cent(judged, chunk, monkeypatch):
    monkeypatch.setattr(Pool, "accuracy", lambda self, i: torch.tensor(60.0))
    pools, build = [], Pool.__init__
    monkeypatch.setattr(Pool, "__init__", lambda self, *rest: (pools.append(self), build(self, *rest))[1])
    without, gradient_without = first_update(IDM(updates=1, **SETTINGS, calibration=0.0), judged, 3, chunk=chunk)
    value, gradient = first_update(IDM(updates=1, **SETTINGS, calibration=0.5), judged, 3, chunk=chunk)
    rng = Rng.of(0).fold("episode", 0)
    (w, _) = pools[-1].at(int(choose(1, 4, rng.fold("network", 0))))
    syn, views = IDM(updates=1, **SETTINGS).begin(judged, 3, Run(Rng.of(0)))
    view, expected = views.draw(rng.fold(0)), 0.0
    for c in range(3):
        scores, _ = judged.network.logits(w, view.synthetic([c]))
        expected = expected + 0.5 * 60 * F.cross_entropy(scores, torch.full((3,), c))
    expected.backward()
    torch.testing.assert_close(value - without, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient - gradient_without, syn.images.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("calibration", [0.0, 0.5])
def test_a_network_that_judges_what_it_sees_takes_one_pass(calibration, exact, monkeypatch):
    calls, call = [], Network._call
    monkeypatch.setattr(Network, "_call", lambda self, *args: calls.append(1) or call(self, *args))
    run = Run(Rng.of(0))
    IDM(updates=1, **SETTINGS, calibration=calibration)(exact, 2, run)
    assert len(calls) == 1 + 1  # one of the real images
    assert run.ledger.flop == {"eager": exact.network.flop(exact.shape) * (3 * (4 + 2 * 2) + TRAINING * 4)}


def test_networks_learn_between_updates(task, monkeypatch):
    steps, taught, counts = [], [], []
    train, put = idm.train, Pool.put

    def watched(*given, **options):
        steps.append(options["steps"])
        return train(*given, **options)

    monkeypatch.setattr(idm, "train", watched)
    monkeypatch.setattr(Pool, "put", lambda self, i, *rest: (taught.append(i), put(self, i, *rest))[1])
    method = IDM(updates=4, batch_real=4, factor=1, capacity=5, learners=2, steps=3, batch_train=4)
    method(task, 1, Run(Rng.of(0), progress=lambda *_: counts.append((sum(steps), len(taught)))))
    assert counts == [(0, 0), (6, 2), (12, 4), (18, 6)]
    assert all(len(set(taught[i : i + 2])) == 2 for i in (0, 2, 4))


def test_it_goes_on_with_its_pool(task, tmp_path, monkeypatch):
    """Places, velocities and counts are as they were: networks learn and one is replaced after the interruption."""
    settings = {"batch_real": 4, "factor": 1, "capacity": 4, "interval": 2, "learners": 4, "steps": 2, "batch_train": 4}
    pools, build = [], Pool.__init__
    monkeypatch.setattr(Pool, "__init__", lambda self, *rest: (pools.append(self), build(self, *rest))[1])
    images(IDM(updates=7, **settings), task, 1)
    with pytest.raises(KeyboardInterrupt):
        images(IDM(updates=7, **settings), task, 1, folder=tmp_path, progress=interrupt(4))
    images(IDM(updates=7, **settings), task, 1, folder=tmp_path)
    whole, _, parts = (pool.state_dict() for pool in pools)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert whole["pushed"] == 3 + 4 and (whole["tally"][:, 1] > 0).sum() == 3  # the newest has no time to learn


def test_an_average_and_a_state_are_both_kept(task, tmp_path):
    method = IDM(updates=4, batch_real=4, factor=1, capacity=3, learners=1, steps=1, batch_train=4, average=0.5)
    with pytest.raises(KeyboardInterrupt):
        images(method, task, 1, folder=tmp_path, progress=interrupt(3))
    whole, parts = (images(method, task, 1, folder=folder) for folder in (None, tmp_path))
    assert torch.equal(whole, parts)
