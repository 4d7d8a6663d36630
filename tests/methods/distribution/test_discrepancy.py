"""Matching by any distance, in either features."""

import dataclasses

import pytest
import torch
from first_updates import first_update, images

from attar.data.normalisation import unit
from attar.distances.by_name import DISCREPANCIES
from attar.engine.run import Run
from attar.methods.distribution.discrepancy import DiscrepancyMatching
from attar.methods.distribution.dm import DM
from attar.methods.distribution.m3d import M3D
from attar.rng import Rng


@pytest.mark.parametrize("features", ["network", "pixels"])
@pytest.mark.parametrize("name", DISCREPANCIES)
def test_every_discrepancy_of_either_features_moves_the_images(name, features, task):
    settings = {"updates": 2, "batch_real": 6, "factor": 1, "discrepancy": name, "features": features}
    made, start = (images(DiscrepancyMatching(lr=lr, **settings), task, 2) for lr in (1.0, 0.0))
    moved = (made - start).flatten(1).norm(dim=1)
    assert moved.isfinite().all() and (moved > 0).all()


def matching(method, **others):
    """With all settings of another method."""
    shared = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return DiscrepancyMatching(**shared | others)


@pytest.mark.parametrize("keep_real", [False, True])
def test_with_gaussians_and_m3ds_settings_it_gives_m3ds_bits(task, keep_real):
    method = M3D(updates=7, batch_real=6, ipm=3, keep_real=keep_real, average=0.5, schedule="settle")
    assert torch.equal(images(matching(method, discrepancy="gaussian"), task, 2), images(method, task, 2))


@pytest.mark.parametrize("keep_real", [False, True])
def test_with_means_and_dms_settings_it_gives_dms_bits(task, keep_real):
    """DM's step is that of all classes, here it is a class's: for sgd without momentum, ipc times as long."""
    method = DM(updates=7, batch_real=6, ipm=3, keep_real=keep_real, momentum=0.0)
    found = images(matching(method, discrepancy="mean", lr=method.lr / 2), task, 2)
    assert torch.equal(found, images(method, task, 2))
    method = DM(updates=7, batch_real=6, ipm=3, keep_real=keep_real, optimiser="adam", lr=0.1)
    assert torch.equal(images(matching(method, discrepancy="mean"), task, 2), images(method, task, 2))


def test_with_means_the_loss_and_its_gradient_are_dms(task):
    method = DM(updates=1, batch_real=6)
    for found, expected in zip(
        first_update(matching(method, discrepancy="mean"), task, 2), first_update(method, task, 2), strict=True
    ):
        assert torch.equal(found, expected)


def test_pixels_are_their_own_features(exact):
    """With a single image and no augmentation, mean matching moves each towards the mean of its class's real batch."""
    plain = {"factor": 1, "init": "real", "space": "normalised", "augment": "", "momentum": 0.0}
    method = DiscrepancyMatching(updates=1, discrepancy="mean", features="pixels", batch_real=24, lr=0.25, **plain)
    made, start = (images(dataclasses.replace(method, lr=lr), exact, 1) for lr in (0.25, 0.0))
    means = torch.stack([exact.normalise(unit(exact.train.x)[exact.train.y == c]).mean(0) for c in range(3)])
    torch.testing.assert_close(made, (start + means) / 2, rtol=1e-10, atol=1e-10)


def test_pixels_need_no_network(task):
    run = Run(Rng.of(0))
    DiscrepancyMatching(updates=1, batch_real=6, factor=1, features="pixels")(task, 1, run)
    assert run.ledger.flop == {}


def test_what_a_discrepancy_cannot_compare_is_refused_before_there_is_an_update(task):
    method = DiscrepancyMatching(updates=10**6, discrepancy="moments", factor=1)
    with pytest.raises(ValueError, match="at least two images of a class"):
        method(task, 1, Run(Rng.of(0), progress=lambda *_: pytest.fail("an update was made")))
