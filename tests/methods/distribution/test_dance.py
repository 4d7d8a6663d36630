"""What DANCE computes, against its paper's formulas written plainly, in float64."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from first_updates import first_update, watch_passes, with_one_network

from attar.engine.run import Run
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.discrepancy import DiscrepancyMatching
from attar.rng import Rng
from attar.training.pretrained import draw_between, pretrain

SETTINGS = {"updates": 1, "models": 2, "epochs": 1, "batch_real": 4, "factor": 1}


@pytest.mark.parametrize("chunk", [256, 4])
def test_the_trained_network_adds_its_cross_entropy_of_each_class(exact, chunk):
    without, gradient_without = first_update(DANCE(**SETTINGS, calibration=0.0), exact, 3, chunk=chunk)
    value, gradient = first_update(DANCE(**SETTINGS, calibration=0.7), exact, 3, chunk=chunk)
    run, rng = Run(Rng.of(0)), Rng.of(0).fold("episode", 0)
    syn, views = DANCE(**SETTINGS).begin(exact, 3, run)
    _, trained = draw_between(pretrain(exact, run, 2, 1), rng.fold("network", 0))
    view, expected = views.draw(rng.fold(0)), 0.0
    for c in range(3):
        scores, _ = exact.network.logits(trained, view.synthetic([c]))
        expected = expected + 0.7 * F.cross_entropy(scores, torch.full((3,), c))
    expected.backward()
    torch.testing.assert_close(value - without, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient - gradient_without, syn.images.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("calibration", "passes"), [(0.0, 1), (0.7, 2)])
def test_the_trained_network_takes_a_pass_of_its_own(calibration, passes, exact):
    method = DANCE(**SETTINGS, calibration=calibration)
    pretrain(exact, Run(Rng.of(0)), 2, 1)  # from here on they are in the cache
    run = Run(Rng.of(0))
    with watch_passes() as seen:
        method(exact, 1, run)
    assert len(seen) == 1 + passes  # one of the real images
    assert run.ledger.flop == {"eager": exact.network.flop(exact.shape) * 3 * (4 + 2 * passes)}


def test_without_calibration_and_training_it_is_matching_of_means(exact):
    dance, one = DANCE(**SETTINGS | {"epochs": 0}, calibration=0.0), with_one_network(exact)
    fields = {field.name for field in dataclasses.fields(DiscrepancyMatching)} & set(dataclasses.asdict(dance))
    shared = {name: getattr(dance, name) for name in fields}
    matching = DiscrepancyMatching(**shared, discrepancy="mean")
    for found, expected in zip(first_update(dance, one, 2), first_update(matching, one, 2), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
