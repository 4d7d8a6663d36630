"""What NCFM computes, against its paper's formulas written plainly."""

import dataclasses

import pytest
import torch
from first_updates import first_update, images, with_one_network

from attar.condensed.store import load, save
from attar.engine.run import Run
from attar.methods.distribution.discrepancy import DiscrepancyMatching
from attar.methods.distribution.ncfm import NCFM
from attar.rng import Rng
from attar.training.pretrained import pretrain


def test_without_a_sampler_it_is_300_times_the_distance_of_characteristic_functions(exact):
    """Here under networks that are not trained, as `discrepancy` has them."""
    method = NCFM(updates=1, models=1, epochs=0, batch_real=6, factor=1, calibration=0.0, sampler=False)
    fields = {field.name for field in dataclasses.fields(DiscrepancyMatching)} & set(dataclasses.asdict(method))
    plain = DiscrepancyMatching(**{name: getattr(method, name) for name in fields}, discrepancy="characteristic")
    value, gradient = first_update(method, with_one_network(exact), 2)
    expected, gradient_expected = first_update(plain, with_one_network(exact), 2)
    torch.testing.assert_close(value, 300 * expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient, 300 * gradient_expected, rtol=1e-8, atol=1e-9)


def test_it_asks_its_sampler_for_frequencies_and_lets_it_climb(task):
    settings = {"updates": 3, "models": 1, "epochs": 1, "batch_real": 4, "frequencies": 32, "factor": 1}
    ways = ({}, {"sampler": False}, {"sampler_lr": 0.0})
    climbing, gaussian, idle = (images(NCFM(**settings, **way), task, 1) for way in ways)
    assert not torch.equal(climbing, gaussian) and not torch.equal(climbing, idle)


def test_soft_labels_are_the_mean_opinion_of_its_networks(task, tmp_path):
    method = NCFM(updates=1, models=2, epochs=1, batch_real=4, frequencies=16, soft=True)
    made = method(task, 2, Run(Rng.of(0)))
    x, soft = made.as_dataset(soft=True).tensors
    module, opinions = task.network.build(), []
    for _, end in pretrain(task, Run(Rng.of(0)), 2, 1):
        module.load_state_dict(end.params)
        opinions.append(module(x).softmax(1))
    torch.testing.assert_close(soft, torch.stack(opinions).mean(0).detach())
    loaded = load(save(made, tmp_path / "a"))
    assert loaded.soft is not None and torch.equal(loaded.soft, soft) and loaded.bytes == made.bytes
    hard = dataclasses.replace(method, soft=False)(task, 2, Run(Rng.of(0)))
    assert hard.soft is None and torch.equal(hard.images, made.images)


@pytest.mark.parametrize(
    ("sampler", "frequencies", "made"), [(True, 64, 4), (True, 16, 2), (False, 64, 64), (False, 16, 16)]
)
def test_frequencies_repeat_as_in_the_authors_code_and_no_fewer_than_two_are_made(sampler, frequencies, made, exact):
    settings = {"updates": 1, "models": 1, "epochs": 1, "batch_real": 4, "factor": 1, "sampler": sampler}
    repeated = first_update(NCFM(frequencies=frequencies, repeat=16, **settings), exact, 1)
    once, other = (first_update(NCFM(frequencies=n, repeat=1, **settings), exact, 1) for n in (made, made + 1))
    assert all(torch.equal(a, b) for a, b in zip(repeated, once, strict=True))
    assert repeated[0] != other[0]
