"""Privacy: canaries, the nearest images, and whole audits of methods that tell all, and nothing."""

import dataclasses

import pytest
import torch
from conftest import narrow, toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.engine.run import silent
from attar.evaluation.audits.canaries import assign_runs, mislabel, place_canaries
from attar.evaluation.audits.frame import Bench, make_subject
from attar.evaluation.audits.nearest import nearest
from attar.evaluation.audits.privacy import Private, is_repeatable
from attar.files import read_tensors
from attar.rng import Rng
from attar.runs.audit import list_subjects, measure_all
from attar.training.protocol import Protocol

BRIEF = Protocol("brief", "for tests", 60, 64, "half", lr=0.1)


def test_every_canary_is_in_half_of_the_runs():
    member = assign_runs(32, 500, Rng.of(0))
    assert (member.sum(0) == 16).all()
    assert member.sum(1).double().std() < 20 and member.sum(1).min() > 200
    assert torch.equal(member, assign_runs(32, 500, Rng.of(0)))


def test_a_wrong_label_is_any_of_the_others():
    y = torch.arange(3).repeat(1000)
    wrong = mislabel(y, 3, Rng.of(0))
    assert (wrong != y).all() and ((wrong - y) % 3).double().mean().item() == pytest.approx(1.5, abs=0.05)


def test_canaries_come_first_and_all_others_keep_their_labels(tmp_path):
    task = toy()
    placed = place_canaries(task, 40, 10, 4, Rng.of(0), tmp_path / "placed.safetensors")
    tensors, _ = read_tensors(placed.path)
    assert tensors["x"].shape == (40, 1, 8, 8) and placed.member.shape == (4, 10) and tensors["z"].shape[0] == 60
    for i, (x, y) in enumerate(zip(tensors["x"], tensors["y"], strict=True)):
        (row,) = (task.train.x == x).flatten(1).all(1).nonzero()[:, 0]
        assert (task.train.y[row] == y) == (i >= 10)
    assert (tensors["wrong"] != tensors["truth"]).all()


def test_nearest_by_all_distances():
    generator = torch.Generator().manual_seed(0)
    x, others = torch.randn(30, 5, generator=generator), torch.randn(4100, 5, generator=generator)
    others[4050] = x[3]
    found = nearest(x, others.split(1000))
    distance, row = torch.cdist(x.double(), others.double()).min(1)
    assert torch.allclose(found.distance, distance.float(), atol=1e-6) and torch.equal(found.row, row)
    assert found.distance[3] == 0


def test_random_images_are_caught_and_lie_in_the_training_set(tmp_path):
    task = narrow(toy(counts=(30, 30, 30), contrast=0.6))
    made = attar.condense(task, "random", 20)
    private = Private(runs=8, canaries=20, rates=[0.2], protocol=BRIEF)
    options = {"private": private, "protocol": BRIEF, "seeds": 1, "out": tmp_path / "out"}
    rows = attar.audit(made, task, **options)
    found = {row.name: row for row in rows}
    assert {row.method for row in rows} == {"random"} and found["advantage, LiRA"].networks == 8
    assert found["area under the ROC curve, LiRA"].value > 0.75
    assert found["area under the ROC curve, RMIA"].value > 0.7
    caught = found["true positives at 20 % false positives, LiRA"]
    assert caught.low > 30 and caught.low < caught.value < caught.high and caught.unit == "%"
    assert found["ε at least, at 20 % false positives, LiRA"].value > 0
    for space in ("pixels", "features"):
        assert (
            found[f"copies of training images, {space}"].value == 100
            and found[f"copies of training images, {space}"].low < 100
        )
        assert found[f"nearer to a training than to any test image, {space}"].value == 100
    assert found["nearer to a training than to any test image, by chance"].value == 60.0
    assert found["distance to the nearest training image, pixels"].value < 1e-6
    assert attar.audit(made, task, **options) == rows


def test_a_method_that_never_looks_tells_nothing(tmp_path):
    """What it makes is the same whatever its data holds: no attack tells members, and nothing is copied."""
    task = narrow(toy(counts=(30, 30, 30)))
    noise = torch.rand(9, *task.shape, generator=torch.Generator().manual_seed(0))
    made = CondensedSet.of(task, noise, torch.arange(3).repeat(3))
    made.provenance.update(method="noise", hyperparameters={}, seed=0)
    bench = Bench(task, BRIEF, (0,), tmp_path, condense=lambda made, data, seed: made)
    subjects = [one for one in list_subjects([made], [tmp_path], tmp_path, bench) if one.role != "random"]
    rows = measure_all([Private(runs=8, canaries=20, rates=[0.2], protocol=BRIEF)], subjects, bench, silent)
    found = {row.name: row for row in rows}
    assert found["area under the ROC curve, LiRA"].value == pytest.approx(0.5, abs=0.15)
    assert found["area under the ROC curve, RMIA"].value == pytest.approx(0.5, abs=0.15)
    assert found["ε at least, at 20 % false positives, LiRA"].value == 0
    assert found["copies of training images, pixels"].value == 0 and found["copies of training images, pixels"].high > 0


def test_a_set_of_unknown_origin_is_compared_alone(tmp_path):
    task = narrow(toy())
    made = CondensedSet.selected(task, torch.arange(6))
    rows = attar.audit(made, task, private=Private(4, 10, rates=0.5, protocol=BRIEF), protocol=BRIEF, seeds=1)
    names = {row.name for row in rows if row.method == "given"}
    assert "copies of training images, pixels" in names and not any("LiRA" in name for name in names)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"runs": 5}, "runs is 5; expected an even number of at least 4"),
        ({"runs": 2}, "runs is 2; expected an even number of at least 4"),
        ({"canaries": 0}, "canaries is 0 and images 72; expected canaries among the images"),
        ({"canaries": 50, "images": 40}, "canaries is 50 and images 40; expected"),
        ({"images": 100}, "these among the 72 for training"),
        ({}, "a false-positive rate of 1 % needs at least 1,000 non-members over all runs, and there are 160"),
        ({"rates": [0.0]}, "lies between 0 and 1, and not at 0"),
        ({"protocol": "quik"}, "unknown protocol 'quik', did you mean 'quick'"),
    ],
)
def test_what_cannot_be_told_is_refused(settings, told):
    task = toy()
    private = dataclasses.replace(Private(canaries=10), **settings)
    with pytest.raises(ValueError, match=told):
        attar.audit(attar.condense(task, "random", 2), task, private=private, protocol=BRIEF, seeds=1)


@pytest.mark.parametrize(
    ("made_by", "told"),
    [
        ({"network": "ResNet10"}, "condensed with the network ResNet10, and ConvNet would be attacked"),
        ({"flip": True}, "condensed with flip=True, and flip=False would be attacked"),
        ({"method": "m4d"}, "unknown method 'm4d'"),
        ({"hyperparameters": {"speed": 1}}, "speed"),
    ],
)
def test_another_pipeline_than_the_set_s_is_not_attacked(made_by, told):
    task = toy()
    made = attar.condense(task, "random", 2)
    made = dataclasses.replace(made, provenance=made.provenance | made_by)
    with pytest.raises(ValueError, match=told):
        attar.audit(made, task, private=Private(4, 10, rates=0.5, protocol=BRIEF), protocol=BRIEF, seeds=1)


def test_codes_of_a_generator_that_is_not_at_hand_are_not_learned_again(tmp_path):
    task = toy()
    made = attar.condense(task, "random", 2)
    other = dataclasses.replace(made, provenance=made.provenance | {"generator": "mine"})
    asked = [is_repeatable(make_subject(each, "set", tmp_path, tmp_path), task) for each in (made, other)]
    assert asked == [True, False]
