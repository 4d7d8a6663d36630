import pytest
import torch
import torchvision
from torch import nn

from attar.networks.architectures import MLP, VGG11, ConvNet, ResNet18, ResNetAP10
from attar.networks.architectures.convnet import default_depth
from attar.networks.by_name import ARCHITECTURES, make_network
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


COUNTS = {  # by hand: kernels, biases and scales of each layer
    "lenet": {(1, 28, 28): 61_706, (3, 32, 32): 62_006},
    "alexnet": {(1, 28, 28): 1_865_802, (3, 32, 32): 1_872_202, (3, 64, 64): 1_872_202 + 10 * 192 * (64 - 16)},
    "vgg11": {(1, 28, 28): 9_229_962, (3, 32, 32): 9_231_114, (3, 64, 64): 9_231_114 + 10 * 512 * 3},
    "resnet18": {(1, 28, 28): 11_172_810, (3, 32, 32): 11_173_962, (3, 64, 64): 11_173_962},
    "resnetap10": {(1, 28, 28): 4_902_090, (3, 32, 32): 4_903_242, (3, 64, 64): 4_903_242},
}
FEATURES = {"lenet": 84, "alexnet": 192 * 16, "vgg11": 512, "resnet18": 512, "resnetap10": 512}


@pytest.mark.parametrize("name, shape", [(name, shape) for name, own in COUNTS.items() for shape in own])
def test_an_architecture_has_the_literatures_size(name, shape):
    family = make_network(name, shape, 10)
    assert sum(p.numel() for p in family.init(Rng.of(0)).params.values()) == COUNTS[name][shape]
    assert family.width(shape) == FEATURES[name] or shape[1] == 64
    if name in ("vgg11", "resnet18", "resnetap10"):  # as many scales and shifts
        batch = make_network(f"{name}-bn", shape, 10).init(Rng.of(0))
        assert sum(p.numel() for p in batch.params.values()) == COUNTS[name][shape]


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Theirs takes ours, layer by layer in the order of use: only the names differ."""
    own, other = ours.state_dict(), theirs.state_dict()
    assert [v.shape for v in own.values()] == [v.shape for v in other.values()]
    theirs.load_state_dict(dict(zip(other, own.values(), strict=True)))


def torchvisions_resnet18() -> nn.Module:
    module = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=10)
    module.conv1, module.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return module


def torchvisions_vgg11() -> nn.Module:
    module = torchvision.models.vgg11_bn(num_classes=10)
    return nn.Sequential(module.features, nn.Flatten(), nn.Linear(512, 10))


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda: ResNet18((3, 32, 32), 10, norm="batch"), torchvisions_resnet18),
        (lambda: VGG11((3, 32, 32), 10, norm="batch"), torchvisions_vgg11),
    ],
    ids=["resnet18", "vgg11"],
)
def test_with_batch_normalisation_it_computes_what_torchvisions_computes(ours, theirs):
    ours, theirs = ours(), theirs()
    same_weights(ours, theirs)
    x = torch.randn(3, 3, 32, 32)
    for train in (True, False):
        torch.testing.assert_close(ours.train(train)(x), theirs.train(train)(x))


@pytest.mark.parametrize("channels, side", [(3, 32), (1, 28), (3, 70)])
def test_average_pooling_halves_the_maps_of_a_resnetap10(channels, side):
    module, x = ResNetAP10((channels, side, side), 10), torch.randn(2, channels, side, side)
    first = side // 2 if side > 64 else side
    sides = [first, first, first // 2, first // 4, first // 8]
    *maps, features = module.layers(x)
    assert [tuple(part.shape[2:]) for part in maps] == [(own, own) for own in sides]
    assert features.shape == (2, 512) and all(c.stride == (1, 1) for c in module.modules() if isinstance(c, nn.Conv2d))
    entry = ResNetAP10((3, 224, 224), 10).stem[0].weight
    assert entry.shape[-1] == 7 and abs(entry.std() / (2 / (49 * 64)) ** 0.5 - 1) < 0.05


LEAST = {"convnet": 2, "lenet": 16, "alexnet": 8, "vgg11": 32, "resnet18": 9, "resnetap10": 16}


@pytest.mark.parametrize("name", LEAST)
def test_the_least_images_can_be_told_apart_and_smaller_ones_are_refused_in_a_sentence(name):
    least = LEAST[name]
    module = ARCHITECTURES[name].build((1, least, least + 1), 4)
    scores = module(torch.randn(2, 1, least, least + 1))
    assert scores.shape == (2, 4) and not torch.allclose(scores[0], scores[1], atol=1e-4)
    with pytest.raises(ValueError, match=f"at least {least} pixels a side, not of {least - 1} × {least}: take another"):
        make_network(name, (1, least - 1, least), 4)


@pytest.mark.parametrize("side", [33, 45])
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "mlp"])
def test_odd_sizes_are_taken(name, side):
    family = make_network(name, (3, side, side + 2), 4)
    w, x = family.init(Rng.of(0)), torch.randn(2, 3, side, side + 2)
    assert family.scores(w, x).shape == (2, 4) and family.ends_in_head((3, side, side + 2))
    assert torch.equal(family.layers(w, x)[-1], family.features(w, x))
