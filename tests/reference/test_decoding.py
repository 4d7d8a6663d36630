"""Tiles of a stored image against torch's own interpolation, and as a linear map with its adjoint."""

import pytest
import torch
import torch.nn.functional as F

from attar.condensed.tiles import pack_tiles, unpack_tiles


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


def test_one_tile_is_the_image():
    images = torch.rand(2, 1, 3, 1, 4, 4)
    assert torch.equal(pack_tiles(images, 1), images[:, 0])
