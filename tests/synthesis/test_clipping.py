"""The law by which a gradient is clipped: at twice an exponential average of its norm."""

import pytest
import torch

from attar.rng import Rng
from attar.synthesis.clipping import Clip


def update(clip, norm, direction):
    """The gradients in `x` and in another parameter that a loss has after clipping, whose gradient in both is given."""
    x, y = torch.zeros(8, requires_grad=True), torch.zeros(8, requires_grad=True)
    loss = 3 + norm * (direction * (x + y)).sum()
    clipped = clip(loss, x)
    assert clipped.item() == loss.item()
    return torch.autograd.grad(clipped, (x, y))


@pytest.mark.parametrize("norms", [[1, 1, 1, 5, 1, 30, 0.1], [2, 4, 5, 40], [0, 0, 3, 100, 0]])
def test_it_is_at_most_twice_the_average_of_those_before_it_and_itself(norms):
    direction = torch.randn(8, generator=Rng.of(0).generator())
    direction, clip, average = direction / direction.norm(), Clip(), 0.0
    for norm in norms:
        average = norm if average == 0 else 0.9 * average + 0.1 * norm
        found, other = update(clip, norm, direction)
        torch.testing.assert_close(found, min(norm, 2 * average) * direction)
        torch.testing.assert_close(other, norm * direction)
        assert clip.average.item() == pytest.approx(average)


def test_what_it_knows_is_state():
    first, second, direction = Clip(), Clip(), torch.ones(8) / 8**0.5
    update(first, 1, direction)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(*(update(clip, 9, direction)[0] for clip in (first, second)))
