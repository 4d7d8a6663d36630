"""Small images in stored ones: where each lies, and that decoding gives them back in the same order."""

import pytest
import torch

from attar.condensed.tiles import interpolation, pack_tiles, unpack_tiles


def flat(values, c: int, h: int, w: int) -> torch.Tensor:
    """Images of one value each."""
    return torch.as_tensor(values, dtype=torch.float32)[..., None, None, None].expand(*values.shape, c, h, w).clone()


@pytest.mark.parametrize("h, w, factor", [(8, 8, 2), (9, 6, 3), (8, 8, 4)])
def test_what_was_packed_is_unpacked_in_the_same_order(h, w, factor):
    """All first tiles, then all second ones: decoded image t · n + i is tile t of stored image i."""
    k, ipc = 3, 2
    values = torch.arange(k * factor**2 * ipc).view(k, factor**2, ipc)
    packed = pack_tiles(flat(values, 2, h, w), factor)
    assert packed.shape == (k, ipc, 2, h, w)
    decoded = unpack_tiles(packed.flatten(0, 1), factor, [0.0, 0.0])
    expected = values.transpose(0, 1).flatten()  # tile, class, image
    torch.testing.assert_close(decoded, flat(expected, 2, h, w))


def test_a_stored_image_of_one_tile_is_itself():
    x = torch.randn(4, 3, 7, 5)
    assert unpack_tiles(x, 1, [0.0] * 3) is x
    assert torch.equal(pack_tiles(x[None, None], 1), x[None])


def test_only_the_rim_of_what_does_not_divide_is_padding():
    """At 7 pixels a side the second tile has 3 of its 4 columns in the image."""
    first, second = unpack_tiles(torch.ones(1, 2, 7, 7), 2, [5.0, -5.0]).view(2, 2, 2, 7, 7).select(0, 0)
    torch.testing.assert_close(first, torch.ones(2, 7, 7))
    assert (second[:, :, :3] == 1).all() and second[0, :, -1].min() == 5 and second[1, :, -1].max() == -5


@pytest.mark.parametrize("few, many", [(4, 8), (3, 8), (14, 28), (5, 5)])
def test_every_enlarged_pixel_is_a_mean_of_neighbours(few, many):
    weights = interpolation(few, many, torch.device("cpu"), torch.float64)
    assert weights.shape == (many, few) and (weights >= 0).all() and ((weights > 0).sum(1) <= 2).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(many, dtype=torch.float64))
    torch.testing.assert_close(weights, weights.flip(0, 1))  # no side is preferred
