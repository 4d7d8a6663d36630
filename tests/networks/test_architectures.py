import pytest
import torch
from torch import nn

from attar.networks.architectures import MLP, ConvNet
from attar.networks.architectures.convnet import default_depth
from attar.networks.by_name import make_network
from attar.rng import Rng


@pytest.mark.parametrize(
    "shape, classes, parameters, features, multiply_adds",
    [
        ((3, 32, 32), 10, 320_010, 2048, 101_449_728 // 2),
        ((1, 28, 28), 10, 317_706, 2048, 96_731_136 // 2),
        ((3, 32, 32), 100, 504_420, 2048, 101_449_728 // 2),
        ((3, 64, 64), 200, 857_160, 2048, 424_673_280 // 2),
        ((3, 128, 128), 10, 615_690, 2048, 1_717_567_488 // 2),
    ],
)
def test_convnet_has_the_literatures_size_and_cost(shape, classes, parameters, features, multiply_adds):
    family = make_network("convnet", shape, classes)
    w = family.init(Rng.of(0))
    assert sum(p.numel() for p in w.params.values()) == parameters
    assert family.features(w, torch.zeros(1, *shape)).shape == (1, features)
    assert family.flop(shape) == 2 * (multiply_adds + features * classes)


@pytest.mark.parametrize("side, depth", [(8, 2), (16, 2), (28, 3), (32, 3), (64, 4), (128, 5), (4, 2), (2, 1)])
def test_depth_follows_the_side(side, depth):
    assert default_depth(side) == depth


@pytest.mark.parametrize("channels, side, padding", [(1, 28, 3), (3, 28, 3), (1, 9, 1), (3, 8, 1)])
def test_a_convnet_is_made_of_torchs_layers_and_pads_as_the_literature_does(channels, side, padding):
    module = ConvNet((channels, side, side), 10)
    known = {nn.Sequential, nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.AvgPool2d, nn.Flatten, nn.Linear}
    assert {type(part) for part in module.modules()} == {ConvNet, *known}
    entry, *others = (part for part in module.modules() if isinstance(part, nn.Conv2d))
    assert entry.padding == (padding, padding) and all(other.padding == (1, 1) for other in others)


def test_starts_as_torch_starts():
    module = ConvNet((3, 32, 32), 10)
    w = make_network("convnet", (3, 32, 32), 10).init(Rng.of(3))
    bound = 1 / (9 * 128) ** 0.5
    kernel = w.params["body.1.0.weight"]
    assert kernel.shape == module.body[1][0].weight.shape
    assert kernel.abs().max() <= bound and kernel.std() > 0.5 * bound
    assert (w.params["body.1.1.weight"] == 1).all() and (w.params["body.1.1.bias"] == 0).all()


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="unknown norm 'layer': instance, batch or none"):
        ConvNet((3, 8, 8), 10, norm="layer")


@pytest.mark.parametrize("module", [ConvNet((3, 8, 8), 4, depth=3), MLP((3, 8, 8), 4, depth=3)], ids=["convnet", "mlp"])
def test_the_last_layer_shown_is_what_enters_the_head(module):
    x = torch.randn(5, 3, 8, 8)
    *maps, features = module.layers(x)
    assert torch.equal(module.head(features), module(x)) and len(maps) == 3
    assert all((part >= 0).all() for part in maps)


def test_perceptron():
    sizes = [784 * 128 + 128, 128 * 128 + 128, 128 * 10 + 10]
    assert [sum(p.numel() for p in MLP((1, 28, 28), 10).parameters())] == [sum(sizes)]
