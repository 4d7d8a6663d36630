"""What holds for every rule that chooses real images by their features."""

import dataclasses
from functools import partial

import pytest
import torch

from attar.engine.run import Run
from attar.methods.selection._features import make_embedding
from attar.methods.selection.herding import Herding, herd
from attar.methods.selection.k_center import KCenter, farthest_first
from attar.methods.selection.k_means import KMeans, nearest_to_centroids
from attar.methods.selection.nearest_mean import NearestMean, nearest
from attar.methods.selection.random import Random
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.rng import Rng
from attar.training.pretrained import train_whole


@pytest.mark.parametrize("rule", [herd, farthest_first, nearest, partial(nearest_to_centroids, seed=0)])
def test_equal_images_are_never_taken_twice(rule):
    assert sorted(rule(torch.ones(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("space", ["pixels", "random", "trained"])
@pytest.mark.parametrize("method", [Herding, KCenter, KMeans, NearestMean])
def test_every_feature_space(method, space, task):
    made = method(features=space, epochs=1)(task, 2, Run(Rng.of(0)))
    chosen = torch.tensor(made.provenance["indices"])
    assert len(chosen.unique()) == 6 and task.train.y[chosen].tolist() == [0, 0, 1, 1, 2, 2]


def test_features_are_those_of_the_space_asked_for(task):
    run, members = Run(Rng.of(0)), torch.arange(50)
    x = task.images(members)
    assert torch.equal(make_embedding(task, run, "pixels", 1)(members), x.flatten(1))
    unlearned = task.network.init(run.rng.fold("network"))
    expected = task.network.features(unlearned, x, train=True)
    torch.testing.assert_close(make_embedding(task, run, "random", 1)(members), expected)
    expected = task.network.features(train_whole(task, run, 1), x)
    torch.testing.assert_close(make_embedding(task, run, "trained", 1)(members), expected)


def test_an_unlearned_network_with_batch_statistics_takes_those_of_the_slice(task):
    mixed = dataclasses.replace(task, network=Network(lambda: ConvNet(task.shape, 3, norm="batch")))
    run, members = Run(Rng.of(0)), torch.arange(50)
    x, w = mixed.images(members), mixed.network.init(run.rng.fold("network"))
    expected = mixed.network.features(w, x, train=True)
    torch.testing.assert_close(make_embedding(mixed, run, "random", 1)(members), expected)


def test_random_selection_is_without_replacement(task):
    chosen = Random()(task, 20, Run(Rng.of(0))).provenance["indices"]
    assert len(set(chosen)) == 60 and task.train.y[chosen].bincount().tolist() == [20, 20, 20]
