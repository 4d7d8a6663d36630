import torch

from attar.engine.by_hand import chunked, with_gradient


def test_a_gradient_computed_by_hand_takes_the_place_of_autograds():
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    value = with_gradient(x.square().sum((1, 2)), x, 2 * x)
    assert torch.equal(value, x.square().sum((1, 2)))
    assert torch.autograd.gradcheck(
        lambda x: with_gradient(x.square().sum((1, 2)), x, 2 * x) * torch.tensor([1.0, 2.0, 3.0]), x
    )


def test_gradients_in_chunks_are_those_of_the_whole():
    """Through a network, to a loss in which all chunks meet."""
    z = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    layers = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()

    def loss(x):
        return torch.cdist(x, x).square().exp().mean() + x.mean(0).square().sum()

    (whole,) = torch.autograd.grad(loss(layers(z)), z)
    parts, total = torch.zeros_like(z), 0.0
    for term in chunked(loss, lambda rows: layers(z[rows]), [slice(0, 3), slice(3, 4), slice(4, 7)]):
        parts += torch.autograd.grad(term, z)[0]
        total += term.item()
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-10)
    assert abs(total - loss(layers(z)).item()) < 1e-12
