"""Faster layers compute what they replace, under the same names."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from attar.engine.fast_layers import Entry, FirstBlock, HalvingPool, quicken
from attar.networks.architectures import MLP, ConvNet
from attar.networks.network import Network
from attar.rng import Rng


def layer_types(module):
    return {type(part) for part in module.modules()}


def outputs_and_gradients(module, x):
    """What it makes of images, and the gradients in them and in its parameters."""
    out = module(x)
    return out, *torch.autograd.grad(out.square().sum(), [x, *module.parameters()])


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (3, 16, 16), (1, 9, 9), (3, 7, 10)], ids=str)
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_a_quickened_convnet_is_the_plain_one(shape, norm, kernel):
    plain = ConvNet(shape, 5, width=8, norm=norm).double()
    quick = quicken(copy.deepcopy(plain), kernel)
    assert [name for name, _ in quick.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(quick.parameters(), plain.parameters(), strict=True))
    assert [name for name, _ in quick.named_buffers()] == [name for name, _ in plain.named_buffers()]
    assert {Entry, HalvingPool} <= layer_types(quick) and not {Entry, HalvingPool} & layer_types(plain)
    assert (FirstBlock in layer_types(quick)) == (kernel and norm == "instance")
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(outputs_and_gradients(quick, x), outputs_and_gradients(plain, x))
    torch.testing.assert_close(quick.layers(x), plain.layers(x))


def test_quickening_keeps_the_parameters_themselves():
    module = ConvNet((3, 8, 8), 5, width=8)
    before = list(module.parameters())
    assert all(a is b for a, b in zip(before, quicken(module, True).parameters(), strict=True))


class Dropping(ConvNet):
    """A tenth of each map is left out."""

    def __init__(self, shape, classes):
        super().__init__(shape, classes, width=8)
        for i, part in enumerate(self.body):
            if isinstance(part, nn.Sequential):
                self.body[i] = nn.Sequential(*part[:-1], nn.Dropout(0.1), part[-1])


def test_a_subclass_with_dropout_is_left_as_it_is():
    family = Network(partial(Dropping, (3, 8, 8), 5))
    assert not family.replayable
    for template in family._templates.values():
        assert not {Entry, HalvingPool, FirstBlock} & layer_types(template)
    w, x = family.init(Rng.of(0)), torch.randn(3, 3, 8, 8)
    module = Dropping((3, 8, 8), 5)
    module.load_state_dict(w.params)
    for train in (True, False):
        with Rng.of(1).scope():
            found, _ = family.logits(w, x, train=train)
        with Rng.of(1).scope():
            assert torch.equal(found, module.train(train)(x))
    assert not torch.equal(family.logits(w, x, train=True)[0], family.logits(w, x)[0])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, 3),
        nn.Conv2d(3, 6, 3, padding="same"),
        nn.Conv2d(3, 6, 3, padding=(1, 2)),
        nn.Conv2d(3, 6, 3, padding=2, dilation=2),
        nn.Conv2d(3, 6, 3, padding=1, groups=3),
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 6, 3, padding=1, stride=2),
        nn.Conv2d(3, 6, 5, padding=1),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=1),
        nn.AvgPool2d(2, stride=1),
        nn.AvgPool2d(3),
        nn.MaxPool2d(2),
    ],
    ids=str,
)
def test_other_layers_are_left_as_they_are(layer):
    assert quicken(nn.Sequential(layer), True)[0] is layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [1, 2, 3])
def test_an_entry_is_the_convolution(padding, bias):
    plain = nn.Conv2d(3, 6, 3, padding=padding, bias=bias).double()
    quick = quicken(nn.Sequential(copy.deepcopy(plain)), True)
    assert type(quick[0]) is Entry
    x = torch.randn(3, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(outputs_and_gradients(quick, x), outputs_and_gradients(plain, x))


def test_a_perceptron_has_nothing_to_replace():
    module = MLP((1, 4, 4), 2)
    assert layer_types(quicken(copy.deepcopy(module), True)) == layer_types(module)


@pytest.mark.parametrize("sides", [(4, 4), (7, 4), (6, 9)])
def test_compiled_pooling_is_torchs_forward_and_backward(sides, unchecked):
    x = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    fused = torch.compile(HalvingPool(), fullgraph=True, backend="aot_eager")
    gradients = [torch.autograd.grad(pool(x).square().sum(), x)[0] for pool in (fused, nn.AvgPool2d(2))]
    torch.testing.assert_close(fused(x), nn.AvgPool2d(2)(x))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("channels, side, padding", [(1, 28, 3), (3, 28, 3), (1, 9, 1), (3, 8, 1)])
@pytest.mark.parametrize("compiled", [False, True])
def test_images_enter_as_the_literature_pads_them(channels, side, padding, compiled, unchecked):
    entry = quicken(ConvNet((channels, side, side), 10).double(), True).body[0][0]
    assert type(entry) is Entry
    x = torch.randn(2, channels, side, side, dtype=torch.float64, requires_grad=True)
    ours = torch.compile(entry, fullgraph=True, backend="aot_eager") if compiled else entry
    literal = nn.functional.conv2d(x, entry.weight, entry.bias, padding=padding)
    torch.testing.assert_close(ours(x), literal)
    wanted = (x, entry.weight, entry.bias)
    gradients = [torch.autograd.grad(y.square().sum(), wanted) for y in (ours(x), literal)]
    torch.testing.assert_close(*gradients)
