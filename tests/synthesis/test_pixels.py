import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import toy

from attar.condensed.store import load, save
from attar.data.normalisation import unit
from attar.data.task import Examples
from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import SCHEDULES
from attar.synthesis.pixels import Pixels

RUN = Run(Rng.of(0))


def test_mixed_tiles_hold_reduced_real_images_in_order():
    task = toy(3, 8)
    syn = Pixels.start(task, 2, RUN, init="mix", factor=2, space="unit")
    originals = unit(task.train.x[task.indices((0, 1, 2), 8, RUN.rng.fold("init"))])
    for k in range(8):
        small = F.interpolate(originals[1, k : k + 1], size=(4, 4), mode="nearest")[0]
        tile, stored = divmod(k, 2)
        i, j = divmod(tile, 2)
        assert torch.equal(syn.images[1, stored, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].detach(), small)


@pytest.mark.parametrize("space", ["unit", "normalised"])
def test_network_ready_images_do_not_depend_on_the_space(space):
    task = toy(3, 7)
    a = Pixels.start(task, 2, RUN, init="mix", factor=2, space=space)
    b = Pixels.start(task, 2, RUN, init="mix", factor=2, space="unit")
    torch.testing.assert_close(a.of((0, 1, 2)), b.of((0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_the_artefact_decodes_to_what_was_learned_on():
    task = toy(3, 7)
    for space in ("unit", "normalised"):
        syn = Pixels.start(task, 2, RUN, init="mix", factor=2, space=space)
        x, y = syn.export().as_dataset().tensors
        for c in range(3):
            got, learned = x[y == c], syn.of((c,))[0].detach()
            torch.testing.assert_close(got, learned, rtol=1e-5, atol=1e-5)


def test_of_is_differentiable_and_follows_the_classes_asked():
    syn = Pixels.start(toy(), 2, RUN, factor=2, init="mix")
    assert torch.equal(syn.of((2, 0))[1], syn.of((0,))[0])
    syn.of((1,)).sum().backward()
    assert syn.images.grad[1].abs().sum() > 0 and syn.images.grad[[0, 2]].abs().sum() == 0


def test_forward_gives_labels():
    x, y = Pixels.start(toy(), 2, RUN)()
    assert x.shape == (6, 1, 8, 8) and y.tolist() == [0, 0, 1, 1, 2, 2]


def test_starts():
    task = toy()
    real = Pixels.start(task, 3, RUN, space="unit").images
    stored = {tuple(image.flatten().tolist()) for image in unit(task.train.x)}
    assert all(tuple(image.flatten().tolist()) in stored for image in real.flatten(0, 1))
    noise = Pixels.start(task, 200, RUN, init="noise", space="unit").images
    assert noise.min() >= 0 and noise.max() <= 1 and abs(noise.mean() - 0.5) < 0.01


def test_clamping_is_for_unit_space_only():
    for space, top in (("unit", 1.0), ("normalised", 9.0)):
        syn = Pixels.start(toy(), 1, RUN, space=space)
        syn.images.data.fill_(9.0)
        syn.clamp_()
        assert syn.images.max() == top


@pytest.mark.parametrize("sides, factor, bad", [((8, 9), 4, 9), ((9, 8), 4, 9), ((8, 8), 5, 8)])
def test_tiles_outside_the_picture_are_refused(sides, factor, bad):
    oblong = toy(1, 12)
    oblong = dataclasses.replace(oblong, train=Examples(oblong.train.x[..., : sides[0], : sides[1]], oblong.train.y))
    with pytest.raises(ValueError, match=f"factor {factor} does not suit a side of {bad} pixels"):
        Pixels.start(oblong, 1, Run(Rng.of(0)), factor=factor)


def with_labels(factor, task=None, **options):
    """Pixels whose labels, by now, are all different."""
    options = {"factor": factor, "init": "mix" if factor > 1 else "real"} | options
    syn = Pixels.start(task or toy(3, 8), 2, RUN, learn_labels=True, **options)
    with torch.no_grad():
        syn.labels.copy_(torch.rand(syn.labels.shape, generator=Rng.of(1).generator()).softmax(2))
    return syn


@pytest.mark.parametrize("factor", [1, 2])
def test_learned_labels_begin_as_the_hard_ones(factor):
    options = {"factor": factor, "init": "mix" if factor > 1 else "real"}
    hard, soft = (Pixels.start(toy(), 2, RUN, learn_labels=learned, **options) for learned in (False, True))
    (x, y), (images, labels) = hard(), soft()
    assert hard.labels is None and torch.equal(x, images)
    assert torch.equal(labels, F.one_hot(y, 3).float()) and soft.labels.shape == (3, soft.each, 3)


def test_labels_of_a_shard_are_those_of_all_classes():
    syn = Pixels.start(toy(), 2, Run(Rng.of(0), classes=(2, 0)), learn_labels=True)
    assert syn()[1].argmax(1).tolist() == [2, 2, 0, 0] and syn()[1].shape == (4, 3)


@pytest.mark.parametrize("factor", [1, 2])
def test_labels_come_in_the_order_of_the_images(factor):
    syn = with_labels(factor)
    x, y = syn()
    for i, c in enumerate(syn.classes):
        own = slice(i * syn.each, (i + 1) * syn.each)
        assert torch.equal(x[own], syn.of([c])[0]) and torch.equal(y[own], syn.labels[i])


def test_gradients_reach_labels_and_images():
    syn = with_labels(2)
    x, y = syn()
    (y[3] * x[3].sum()).sum().backward()
    reached = syn.labels.grad.flatten(0, 1).abs().sum(1)
    assert reached[3] > 0 and reached.count_nonzero() == 1 and syn.images.grad.abs().sum() > 0


@pytest.mark.parametrize("space", ["unit", "normalised"])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_artefact_has_the_labels_of_its_decoded_images(factor, space, tmp_path):
    syn = with_labels(factor, space=space)
    made, (x, y) = syn.export(), (part.detach() for part in syn())
    images, soft = made.as_dataset(soft=True).tensors
    assert made.soft is not None and not made.soft.requires_grad
    nearest = torch.cdist(images.flatten(1), x.flatten(1)).min(1)
    assert sorted(nearest.indices.tolist()) == list(range(len(x))) and nearest.values.max() < 1e-3
    assert torch.equal(soft, y[nearest.indices])
    assert torch.equal(made.decoded_labels(), torch.arange(3).repeat_interleave(syn.each)[nearest.indices])
    loaded = load(save(made, tmp_path / "made"))
    assert torch.equal(loaded.soft, soft) and torch.equal(loaded.images, made.images)
    assert torch.equal(loaded.as_dataset(soft=True).tensors[0], images)


def test_a_run_that_learns_labels_resumes_to_the_same_bits(tmp_path):
    task, at = toy(3, 8), 5

    def episode(syn, rng):
        w = task.network.init(rng)
        for _ in range(2):
            x, y = syn()
            yield [F.cross_entropy(task.network.scores(w, x), y) + y.square().sum()]

    def learn(folder, **options):
        syn = Pixels.start(task, 2, RUN, factor=2, init="mix", learn_labels=True)
        groups = [{"params": [syn.images], "lr": 0.1}, {"params": [syn.labels], "lr": 0.01}]
        opt, run = torch.optim.SGD(groups, momentum=0.5), Run(Rng.of(0), folder, **options)
        return optimise(episode, syn, opt, updates=8, run=run, schedule=SCHEDULES["cosine"](8)).export()

    def stop(done, total, loss):
        if done == at:
            raise KeyboardInterrupt

    whole = learn(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "parts", progress=stop)
    parts = learn(tmp_path / "parts")
    assert torch.equal(whole.images, parts.images) and torch.equal(whole.soft, parts.soft)
    start = Pixels.start(task, 2, RUN, factor=2, init="mix", learn_labels=True).export()
    assert not torch.equal(start.soft, whole.soft) and not torch.equal(start.images, whole.images)
