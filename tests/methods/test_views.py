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


def test_batch_statistics_are_refused(exact):
    mixed = dataclasses.replace(exact, network=Network(lambda: ConvNet(exact.shape, 3, norm="batch")))
    with pytest.raises(ValueError, match="ConvNet normalises by batch statistics, which mix the classes"):
        views(mixed)
