"""How often IDM looks, and how it goes on; `reference/test_literal.py` has what it computes."""

import pytest
import torch
from first_updates import images, interrupt, watch_passes

from attar.engine.run import Run
from attar.methods.distribution.idm import IDM
from attar.networks.weights import TRAINING
from attar.rng import Rng

SETTINGS = {"batch_real": 4, "factor": 1, "capacity": 4, "learners": 1, "steps": 1, "batch_train": 4}


@pytest.mark.parametrize("calibration", [0.0, 0.5])
def test_a_network_that_judges_what_it_sees_takes_one_pass(calibration, exact):
    run = Run(Rng.of(0))
    with watch_passes() as seen:
        IDM(updates=1, **SETTINGS, calibration=calibration)(exact, 2, run)
    assert [one.learned for one in seen] == [False, True]  # the real images, and those that are learned
    assert run.ledger.flop == {"eager": exact.network.flop(exact.shape) * (3 * (4 + 2 * 2) + TRAINING * 4)}


@pytest.mark.parametrize("interval", [2, 5], ids=["young networks are drawn", "old networks are drawn"])
def test_it_goes_on_with_its_pool(interval, task, tmp_path):
    """Places, velocities and counts are as they were: networks learn and are replaced after the interruption."""
    settings = {"batch_real": 4, "factor": 1, "capacity": 4, "learners": 4, "steps": 2, "batch_train": 4}
    method = IDM(updates=9, interval=interval, **settings)
    with pytest.raises(KeyboardInterrupt):
        images(method, task, 1, folder=tmp_path, progress=interrupt(4))
    assert torch.equal(images(method, task, 1), images(method, task, 1, folder=tmp_path))


def test_an_average_and_a_state_are_both_kept(task, tmp_path):
    method = IDM(updates=4, batch_real=4, factor=1, capacity=3, learners=1, steps=1, batch_train=4, average=0.5)
    with pytest.raises(KeyboardInterrupt):
        images(method, task, 1, folder=tmp_path, progress=interrupt(3))
    whole, parts = (images(method, task, 1, folder=folder) for folder in (None, tmp_path))
    assert torch.equal(whole, parts)
