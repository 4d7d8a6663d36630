import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import toy

from attar.condensed.tiles import pack_tiles, unpack_tiles
from attar.data.normalisation import unit
from attar.data.task import Examples
from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

RUN = Run(Rng.of(0))


@pytest.mark.parametrize("h, w, factor", [(8, 8, 2), (9, 9, 3), (7, 10, 2), (8, 8, 3)])
def test_decoding_enlarges_tiles_in_row_major_order(h, w, factor):
    x = torch.randn(4, 3, h, w)
    rows, columns = -(-h // factor), -(-w // factor)
    padded = torch.full((4, 3, rows * factor, columns * factor), 0.25)
    padded[..., :h, :w] = x
    slow = []
    for i in range(factor):
        for j in range(factor):
            tile = padded[..., i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            slow.append(F.interpolate(tile, size=(h, w), mode="bilinear", align_corners=False))
    torch.testing.assert_close(unpack_tiles(x, factor, [0.25] * 3), torch.cat(slow))


def test_decoding_is_linear_with_a_true_adjoint():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    y = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    forward = (unpack_tiles(x, 2, [0.0]) * y).sum()
    (adjoint,) = torch.autograd.grad(forward, x)
    torch.testing.assert_close(forward, (x * adjoint).sum())
    basis = torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    matrix = unpack_tiles(basis, 2, [0.0]).view(4, 64, 64)  # tile, input, output
    torch.testing.assert_close(adjoint[0].flatten(), torch.einsum("tio,to->i", matrix, y.view(4, 2, 64)[:, 0]))


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


def test_one_tile_is_the_image():
    images = torch.rand(2, 1, 3, 1, 4, 4)
    assert torch.equal(pack_tiles(images, 1), images[:, 0])
