"""What one update looks at."""

import dataclasses

import pytest
import torch

from attar.augment.dsa import Augment, apply
from attar.engine.run import Run
from attar.methods._views import Views
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

VICO = "color_crop_cutout_flip_scale_rotate"


def views(task, ipc=2, *, augment=VICO, batch=5, first=False, **options):
    run = Run(Rng.of(0), **options)
    return Views.of(task, Pixels.start(task, ipc, run), run, Augment(augment), batch=batch, first=first)


def test_each_class_has_an_augmentation_of_its_own(exact):
    some = views(exact, 1, augment="crop")
    with torch.no_grad():
        some.syn.images[:] = some.syn.images[0].clone()
    shown = some.draw(Rng.of(1)).synthetic(range(3))
    assert not all(torch.equal(shown[0], other) for other in shown[1:])


def test_real_and_synthetic_images_of_a_class_are_augmented_alike(exact):
    some = views(exact)
    view = some.draw(Rng.of(2))
    made, real = some.syn.of(range(3)), exact.images(view.indices)
    for c in range(3):
        for x, shown in ((made, view.synthetic([c])), (real, view.real_images([c])[0])):
            torch.testing.assert_close(shown, apply(x[c : c + 1], view.draw.rows([c]))[0])


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"chunk": 6}, {"classes": (2, 0)}], ids=str)
def test_pairs_are_the_features_of_each_class(exact, options):
    some = views(exact, **options)
    w, view, module = exact.network.init(Rng.of(1)), some.draw(Rng.of(2)), exact.network.build()
    module.load_state_dict(w.params)
    pairs = list(view.pairs(exact.network.features, w))
    synthetic, real = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    assert synthetic.requires_grad and not real.requires_grad
    everyone = views(exact).draw(Rng.of(2))  # a shard sees what the whole run sees
    for i, c in enumerate(some.syn.classes):
        shown = everyone.synthetic([c]), everyone.real_images([c])[0]
        for found, x in zip((synthetic[i], real[i]), shown, strict=True):
            torch.testing.assert_close(found, module.body(x), rtol=1e-9, atol=1e-9)


def test_a_kept_view_gives_the_same_real_features(exact):
    some = views(exact, chunk=2)
    w, view = exact.network.init(Rng.of(1)), some.draw(Rng.of(2))
    kept = view.keep(exact.network.features, w)
    other = exact.network.init(Rng.of(3))  # no longer asked
    for (s, r), (t, q) in zip(
        view.pairs(exact.network.features, w), kept.pairs(exact.network.features, w), strict=True
    ):
        assert torch.equal(s, t) and torch.equal(r, q)
    real = [view.real(exact.network.features, w, chunk) for chunk in some.chunks]
    assert all(
        torch.equal(kept.real(exact.network.features, other, chunk), r)
        for chunk, r in zip(some.chunks, real, strict=True)
    )


def test_the_first_images_again_and_again(exact):
    first = views(exact, first=True)
    drawn = [first.draw(Rng.of(i)).indices for i in range(2)]
    assert torch.equal(*drawn) and torch.equal(drawn[0], exact.table[:, :5])
    fresh = [views(exact).draw(Rng.of(i)).indices for i in range(2)]
    assert not torch.equal(*fresh)


def test_mirrored_images_are_left_out_where_they_mean_another_thing(exact):
    ops = {
        flip: [op for op, _ in views(dataclasses.replace(exact, flip=flip)).draw(Rng.of(0)).draw.ops]
        for flip in (True, False)
    }
    assert "flip" in ops[True] and "flip" not in ops[False]


def test_the_cross_entropy_is_the_mean_of_each_class_summed(exact):
    some = views(exact)
    view, scores = some.draw(Rng.of(0)), torch.randn(4, 3, dtype=torch.float64)
    own = [-scores[i].log_softmax(0)[c] for i, c in enumerate((2, 2, 0, 0))]
    torch.testing.assert_close(view.cross_entropy(scores, (2, 0)), sum(own) / 2)


@pytest.fixture
def mixed(exact):
    """With batch normalisation, and a class of fewer images than statistics are taken from."""
    return dataclasses.replace(exact, network=Network(lambda: ConvNet(exact.shape, 3, width=8, norm="batch")))


def test_frozen_statistics_are_those_of_sixteen_real_images_of_every_class(mixed):
    w, rng = mixed.network.init(Rng.of(1)), Rng.of(2)
    frozen = views(mixed, classes=(1,)).freeze(w, rng)
    x = mixed.sample(range(3), 16, rng.fold("statistics")).flatten(0, 1)
    module = mixed.network.build()
    module.load_state_dict(w.params, strict=False)
    for i in range(2):  # block by block, by the textbook: torch keeps the unbiased variance
        maps = module.body[i][0](x)
        torch.testing.assert_close(frozen.buffers[f"body.{i}.1.running_mean"], maps.mean((0, 2, 3)))
        torch.testing.assert_close(frozen.buffers[f"body.{i}.1.running_var"], maps.var((0, 2, 3)))
        x = module.body[i](x)
    # In such a network an image's features depend on no other image.
    images = mixed.images(torch.arange(6))
    together = mixed.network.features(frozen, images)
    apart = torch.cat([mixed.network.features(frozen, part) for part in images.split(1)])
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)
    assert frozen.params is w.params and all(torch.isfinite(part).all() for part in frozen.buffers.values())


@pytest.mark.parametrize("classes", [(0,), (2, 1), (0, 1, 2)], ids=str)
def test_a_shard_freezes_the_statistics_of_the_whole(mixed, classes):
    w = mixed.network.init(Rng.of(1))
    whole, part = (views(mixed, **own).freeze(w, Rng.of(2)).buffers for own in ({}, {"classes": classes}))
    assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_without_batch_normalisation_nothing_is_frozen_and_nothing_counted(exact):
    some, w = views(exact), exact.network.init(Rng.of(1))
    assert some.freeze(w, Rng.of(2)) is w and some.run.ledger.flop == {}
