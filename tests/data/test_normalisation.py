"""From pixels to what networks see and back, and the same in compiled code."""

import pytest
import torch

from attar.data.normalisation import Normalisation, unit

MADE = Normalisation((0.1, 0.4, 0.7), (0.2, 0.25, 0.3))


@pytest.mark.parametrize("shape", [(3, 8, 6), (5, 3, 8, 6), (2, 5, 3, 8, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_pixels_undoes_to_network(shape, dtype):
    x = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    seen = MADE.to_network(x)
    assert seen.dtype == dtype and seen.shape == x.shape and not torch.allclose(seen, x)
    torch.testing.assert_close(MADE.to_pixels(seen), x)
    torch.testing.assert_close(MADE.to_network(MADE.to_pixels(x)), x)


def test_each_channel_has_its_own_mean_and_deviation():
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for c, (mean, std) in enumerate(zip(MADE.mean, MADE.std, strict=True)):
        torch.testing.assert_close(MADE.to_network(x)[:, c], (x[:, c] - mean) / std)


def test_grey_is_half_way_between_black_and_white():
    black, white = MADE.to_network(torch.zeros(3, 1, 1)), MADE.to_network(torch.ones(3, 1, 1))
    torch.testing.assert_close(torch.tensor(MADE.grey), ((black + white) / 2).flatten())


def test_what_tells_it_apart_are_its_numbers():
    assert MADE == Normalisation(*MADE.identity) != Normalisation(MADE.std, MADE.mean)
    assert hash(MADE) == hash(Normalisation(*MADE.identity))


def test_bytes_become_floats_on_the_unit_interval_and_floats_stay():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert unit(x).dtype == torch.float32 and torch.equal(unit(x) * 255, x.float())
    floats = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(unit(floats), floats)
    assert unit(x.transpose(2, 3)).is_contiguous()


def test_compiled_and_eager_agree(unchecked):
    """Its numbers are constants of compiled code: those of each normalisation, type and direction are its own."""
    x = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    other = Normalisation((0.3, 0.2, 0.1), (0.5, 0.6, 0.7))
    for made in (MADE, other):
        for function in (made.to_network, made.to_pixels):
            compiled = torch.compile(function, dynamic=False, fullgraph=True)
            for given in (x, x.double()):
                torch.testing.assert_close(compiled(given), function(given))
