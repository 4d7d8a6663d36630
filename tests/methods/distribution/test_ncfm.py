"""What NCFM computes, against its paper's formulas written plainly."""

import dataclasses

import pytest
import torch
from first_updates import first_update, images

from attar.condensed.store import load, save
from attar.distances.characteristic import Sampler
from attar.engine.run import Run
from attar.methods.distribution import ncfm
from attar.methods.distribution.discrepancy import DiscrepancyMatching
from attar.methods.distribution.ncfm import NCFM
from attar.rng import Rng
from attar.training.pretrained import pretrain


def test_without_a_sampler_it_is_300_times_the_distance_of_characteristic_functions(task, monkeypatch):
    """Here under unlearned networks, as `discrepancy` has them."""

    def unlearned(networks, rng):
        return task.network.init(rng), None

    monkeypatch.setattr("attar.methods.distribution.ncfm.draw_between", unlearned)
    method = NCFM(updates=1, models=1, epochs=1, batch_real=6, factor=1, calibration=0.0, sampler=False)
    fields = {field.name for field in dataclasses.fields(DiscrepancyMatching)} & set(dataclasses.asdict(method))
    shared = {name: getattr(method, name) for name in fields}
    value, gradient = first_update(method, task, 2)
    plain, gradient_plain = first_update(DiscrepancyMatching(**shared, discrepancy="characteristic"), task, 2)
    torch.testing.assert_close(value, 300 * plain, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, 300 * gradient_plain, rtol=1e-4, atol=1e-5)


def test_it_asks_its_sampler_for_frequencies_and_lets_it_climb(task, monkeypatch):
    climbed, ascend = [], Sampler.ascend

    def watched(self):
        climbed.append(1)
        ascend(self)

    monkeypatch.setattr(Sampler, "ascend", watched)
    settings = {"updates": 3, "models": 1, "epochs": 1, "batch_real": 4, "frequencies": 32, "factor": 1}
    with_sampler = images(NCFM(**settings), task, 1)
    assert len(climbed) == 2  # not after the last update
    without = images(NCFM(**settings, sampler=False), task, 1)
    assert len(climbed) == 2 and not torch.equal(with_sampler, without)
    idle = images(NCFM(**settings, sampler_lr=0.0), task, 1)
    assert not torch.equal(with_sampler, idle)


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


@pytest.mark.parametrize("sampler", [True, False])
def test_frequencies_repeat_as_in_the_authors_code_and_no_fewer_than_two_are_made(sampler, task, monkeypatch):
    drawn, draw = [], ncfm.gaussian_frequencies

    def watched(count, *rest):
        drawn.append(count)
        return draw(count, *rest)

    monkeypatch.setattr(ncfm, "gaussian_frequencies", watched)
    for frequencies in (64, 16):
        settings = {"models": 1, "epochs": 1, "batch_real": 4, "factor": 1, "repeat": 16}
        NCFM(updates=1, frequencies=frequencies, sampler=sampler, **settings)(task, 1, Run(Rng.of(0)))
    assert drawn == ([4, 2] if sampler else [64, 16])
