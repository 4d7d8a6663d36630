"""The laws of selection, and its rules against naive ones."""

import dataclasses
import itertools

import pytest
import torch
from conftest import toy

from attar.engine.run import Run
from attar.methods.selection.herding import Herding, herd
from attar.methods.selection.k_center import KCenter, farthest_first
from attar.rng import Rng
from attar.training.pretrained import train_whole


def features(n=200, d=16, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu()


def naive_herding(f, m):
    """argmin over the rest of ‖(i + 1) μ − S − f_j‖, as it is written."""
    mean, total, picked = f.mean(0), torch.zeros(f.shape[1], dtype=f.dtype), []
    for i in range(m):
        distance = [
            float("inf") if j in picked else ((i + 1) * mean - total - f[j]).norm().item() for j in range(len(f))
        ]
        picked.append(distance.index(min(distance)))
        total = total + f[picked[-1]]
    return picked


def test_herding_equals_the_naive_loop():
    f = features()
    assert herd(f, 30).tolist() == naive_herding(f, 30)


def test_herding_keeps_the_mean_better_than_chance():
    f = features(500, 64)
    error = lambda rows: (f[rows].mean(0) - f.mean(0)).norm()  # noqa: E731
    chance = [error(torch.randperm(500, generator=torch.Generator().manual_seed(s))[:20]) for s in range(20)]
    assert error(herd(f, 20)) < min(chance)


def radius(f, rows):
    return torch.cdist(f, f[rows]).min(1).values.max().item()


def test_the_radius_of_k_center_never_grows_and_is_within_twice_the_best():
    f = features(60, 3)
    radii = [radius(f, farthest_first(f, m)) for m in range(1, 15)]
    assert all(a >= b for a, b in itertools.pairwise(radii))
    # Gonzalez: among m + 1 centres two share a best cluster, so their distance bounds twice the best radius from below.
    centres = f[farthest_first(f, 6)]
    apart = torch.pdist(centres).min().item()
    assert radius(f, farthest_first(f, 5)) <= apart + 1e-12


def test_k_center_starts_at_the_image_nearest_the_mean():
    f = features()
    assert farthest_first(f, 1).item() == (f - f.mean(0)).norm(dim=1).argmin().item()


@pytest.mark.parametrize("rule", [herd, farthest_first])
def test_equal_images_are_never_taken_twice(rule):
    assert sorted(rule(torch.ones(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("space", ["pixels", "random", "trained"])
@pytest.mark.parametrize("method", [Herding, KCenter])
def test_every_feature_space(method, space, task):
    made = method(features=space, epochs=1)(task, 2, Run(Rng.of(0)))
    chosen = torch.tensor(made.provenance["indices"])
    assert len(chosen.unique()) == 6 and task.train.y[chosen].tolist() == [0, 0, 1, 1, 2, 2]


def test_training_on_the_whole_set_is_done_once(task, monkeypatch):
    run = Run(Rng.of(11))
    first = train_whole(task, run, 1)

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("attar.training.pretrained.fit", never)
    for same in (run, Run(Rng.of(11), compile="off")):  # as it is decided anyway
        again = train_whole(task, same, 1)
        assert all(torch.equal(first.params[k], again.params[k]) for k in first.params)
    for other in (dataclasses.replace(toy(seed=1)), task.with_network("mlp")):
        with pytest.raises(AssertionError, match="trained again"):
            train_whole(other, run, 1)


def test_a_damaged_stage_is_made_anew(task):
    from attar.files import cache_folder

    run = Run(Rng.of(12))
    before = set((cache_folder() / "stages").glob("*")) if (cache_folder() / "stages").exists() else set()
    first = train_whole(task, run, 1)
    (path,) = set((cache_folder() / "stages").glob("*")) - before
    path.write_bytes(path.read_bytes()[:50])
    again = train_whole(task, run, 1)
    assert all(torch.equal(first.params[k], again.params[k]) for k in first.params)
