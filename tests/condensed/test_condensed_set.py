"""What a condensed set gives: network-ready images, 8-bit ones, bytes, and one set of several shards."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import toy

from attar.condensed.condensed_set import CondensedSet
from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.pixels import Pixels


@pytest.fixture
def made():
    return Pixels.start(toy(3), 2, Run(Rng.of(0)), init="mix", factor=2, space="unit").export()


def test_eight_bit_images_lose_half_a_level_at_most(made):
    exact, rounded = made.as_dataset().tensors[0], made.as_dataset(eight_bit=True).tensors[0]
    std = torch.tensor(made.normalisation.std)[:, None, None]
    assert ((exact - rounded) * std).abs().max() <= 0.5 / 255 + 1e-6
    assert made.pictures().dtype == torch.uint8


def test_bytes(made):
    extras = dict.fromkeys(("soft", "targets", "whitening"), 0)
    assert made.bytes == {"stored": 6 * 3 * 64 * 4 + 6 * 8, "eight_bit": 24 * 3 * 64, **extras}
    assert made.ipc == 2


def test_soft_labels_are_given_where_there_are_some(made):
    with pytest.raises(ValueError, match="the set has no soft labels"):
        made.as_dataset(soft=True)
    soft = torch.rand(24, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    taught = dataclasses.replace(made, soft=soft)
    x, y = taught.as_dataset(soft=True).tensors
    assert torch.equal(x, made.as_dataset().tensors[0]) and torch.equal(y, soft)
    assert taught.bytes == made.bytes | {"soft": 24 * 3 * 4}


def test_targets_are_learned_or_centred_one_hot_labels(made):
    _, y = made.as_dataset(targets=True).tensors
    assert torch.equal(y, F.one_hot(made.decoded_labels(), 3) - 1 / 3)
    targets = torch.randn(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taught = dataclasses.replace(made, targets=targets)
    assert torch.equal(taught.as_dataset(targets=True).tensors[1], targets.float())
    assert torch.equal(taught.as_dataset().tensors[1], made.decoded_labels())
    assert taught.bytes == made.bytes | {"targets": 24 * 3 * 8}
    with pytest.raises(ValueError, match="soft and targets are two kinds of labels: leave out one of them"):
        taught.as_dataset(soft=True, targets=True)


def test_shards_join_to_the_whole_in_the_order_of_labels(made):
    soft = torch.rand(24, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    whole = dataclasses.replace(made, soft=soft)

    def shard(c: int) -> CondensedSet:
        own, decoded = made.labels == c, made.decoded_labels() == c
        parts = {
            "images": made.images[own],
            "labels": made.labels[own],
            "soft": soft[decoded],
            "targets": -soft[decoded],
        }
        return dataclasses.replace(made, **parts, provenance={"classes": [c]})

    joined = CondensedSet.concat([shard(c) for c in (2, 0, 1)])
    assert torch.equal(joined.images, whole.images) and torch.equal(joined.labels, whole.labels)
    assert torch.equal(joined.soft, soft) and torch.equal(joined.targets, -soft)
    with pytest.raises(ValueError, match="some of the sets have targets, others have none"):
        CondensedSet.concat([shard(0), dataclasses.replace(shard(1), targets=None)])
    assert joined.provenance == {"shards": [{"classes": [c]} for c in (2, 0, 1)]}


def test_concat_refuses_what_does_not_fit(made):
    other = Pixels.start(toy(3), 2, Run(Rng.of(0)), space="normalised").export()
    with pytest.raises(ValueError, match="the sets differ in factor: 2 and 1"):
        CondensedSet.concat([made, other])
    with pytest.raises(ValueError, match="there are no sets to join"):
        CondensedSet.concat([])
    taught = dataclasses.replace(made, soft=torch.full((24, 3), 1 / 3))
    with pytest.raises(ValueError, match="some of the sets have soft labels, others have none"):
        CondensedSet.concat([made, taught])


def test_selected_images_are_real_and_named():
    task = toy()
    indices = task.indices((0, 1, 2), 2, Rng.of(0))
    made = CondensedSet.selected(task, indices)
    assert made.provenance["indices"] == indices.flatten().tolist()
    torch.testing.assert_close(made.as_dataset().tensors[0], task.images(indices).flatten(0, 1))
    assert torch.equal(made.pictures(), task.train.x[indices.flatten()])


def test_the_whole_set_is_all_training_images():
    task = toy()
    made = CondensedSet.whole(task)
    assert torch.equal(made.pictures(), task.train.x) and torch.equal(made.labels, task.train.y)
    assert made.provenance == {"method": "whole set"} and made.ipc == 24
