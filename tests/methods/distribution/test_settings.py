"""What methods that match feature distributions share."""

import dataclasses

import pytest
import torch
from first_updates import images, watch_passes

from attar.engine.run import Run
from attar.methods import find, list_names
from attar.methods.distribution._settings import Settings
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.dm import DM
from attar.methods.distribution.m3d import M3D
from attar.rng import Rng
from attar.synthesis.optimisers import SCHEDULES


@pytest.mark.parametrize(("keep_real", "real"), [(False, 5), (True, 2)])
def test_a_kept_real_batch_is_read_once_for_its_networks_life(keep_real, real, exact):
    with watch_passes() as seen:
        DM(updates=5, ipm=3, keep_real=keep_real, batch_real=6)(exact, 1, Run(Rng.of(0)))
    assert [one.learned for one in seen].count(False) == real
    assert [one.learned for one in seen].count(True) == 5


def test_what_ran_is_what_was_counted(exact):
    run = Run(Rng.of(0))
    DM(updates=1)(exact, 1, run)
    assert run.ledger.flop == {"eager": 3 * (24 + 2) * exact.network.flop(exact.shape)}


def test_adams_steps_do_not_grow_with_the_budget(exact):
    settings = {"updates": 1, "optimiser": "adam", "factor": 1, "batch_real": 4}
    start, moved = (images(M3D(lr=lr, **settings), exact, 4) for lr in (0.0, 0.01))
    assert 0.005 < (moved - start).abs().max() <= 0.0101


def test_an_average_is_of_what_networks_saw(exact):
    method = M3D(updates=4, lr=5.0, average=0.5, batch_real=4)
    made = images(method, exact, 1)
    assert made.min() >= 0 and made.max() <= 1
    syn, _ = method.begin(exact, 1, Run(Rng.of(0)))
    syn.put_(syn.images + 1)
    assert syn.clamped().max() == 1


def test_no_class_is_asked_for_more_images_than_there_are(task):
    _, views = DANCE(updates=1, batch_real=1000, factor=1).begin(task, 1, Run(Rng.of(0)))
    assert views.draw(Rng.of(0)).indices.shape == (3, 24)


def test_a_step_a_class_is_one_step_for_all():
    method = M3D(lr=0.5, momentum=0.5)
    assert method.step_per_class(3, scale=4) == pytest.approx((0.5 * 4 * (1 - 0.125) / 0.5, 0.125))
    assert dataclasses.replace(method, optimiser="adam").step_per_class(3, scale=4) == (0.5, 0.5)


MATCHING = [name for name in list_names() if issubclass(find(name), Settings)]


@pytest.mark.parametrize("name", MATCHING)
def test_no_field_is_both_there_and_retired(name):
    """Only the method that matches by any distance still has what other methods once had."""
    fields = {field.name for field in dataclasses.fields(find(name))}
    assert fields & find(name).retired.keys() <= ({"discrepancy", "features"} if name == "discrepancy" else set())
    assert find(name)().cycle(10) == find(name)().ipm


@pytest.mark.parametrize("name", MATCHING)
def test_a_schedule_that_halts_every_step_leaves_the_start(name, task, monkeypatch):
    monkeypatch.setitem(SCHEDULES, "constant", lambda updates: lambda done: 0.0)
    small = {"updates": 2, "batch_real": 4, "factor": 1}
    small |= {key: 1 for key in ("models", "epochs", "learners", "steps") if hasattr(find(name)(), key)}
    halted = images(find(name)(**small), task, 1)
    assert torch.equal(halted, images(find(name)(**small | {"lr": 0.0}), task, 1))
