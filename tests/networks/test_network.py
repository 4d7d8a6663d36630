from functools import partial

import pytest
import torch
from torch import nn

from attar.networks.architectures import MLP, ConvNet
from attar.networks.architectures.convnet import Pool, default_depth
from attar.networks.by_name import network
from attar.networks.network import Network
from attar.rng import Rng

ONE = "from torch import nn\n\ndef Net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear({}, {}))\n"


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
    family = network("convnet", shape, classes)
    w = family.init(Rng.of(0))
    assert sum(p.numel() for p in w.params.values()) == parameters
    assert family.features(w, torch.zeros(1, *shape)).shape == (1, features)
    assert family.flop(shape) == 2 * (multiply_adds + features * classes)


@pytest.mark.parametrize("side, depth", [(8, 2), (16, 2), (28, 3), (32, 3), (64, 4), (128, 5), (4, 2), (2, 1)])
def test_depth_follows_the_side(side, depth):
    assert default_depth(side) == depth


@pytest.mark.parametrize("sides", [(4, 4), (7, 4), (6, 9)])
def test_compiled_pooling_is_torchs_there_and_back(sides, unchecked):
    x = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    fused = torch.compile(Pool(), fullgraph=True, backend="aot_eager")
    slopes = [torch.autograd.grad(pool(x).square().sum(), x)[0] for pool in (fused, nn.AvgPool2d(2))]
    torch.testing.assert_close(fused(x), nn.AvgPool2d(2)(x))
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("channels, side, padding", [(1, 28, 3), (3, 28, 3), (1, 9, 1), (3, 8, 1)])
@pytest.mark.parametrize("compiled", [False, True])
def test_images_enter_as_the_literature_pads_them(channels, side, padding, compiled, unchecked):
    torch.compiler.reset()  # what earlier tests compiled counts
    entry = ConvNet((channels, side, side), 10).double().body[0][0]
    x = torch.randn(2, channels, side, side, dtype=torch.float64, requires_grad=True)
    ours = torch.compile(entry, fullgraph=True, backend="aot_eager") if compiled else entry
    literal = nn.functional.conv2d(x, entry.weight, entry.bias, padding=padding)
    torch.testing.assert_close(ours(x), literal)
    wanted = (x, entry.weight, entry.bias)
    slopes = [torch.autograd.grad(y.square().sum(), wanted) for y in (ours(x), literal)]
    torch.testing.assert_close(*slopes)


def test_starts_as_torch_starts():
    module = ConvNet((3, 32, 32), 10)
    w = network("convnet", (3, 32, 32), 10).init(Rng.of(3))
    bound = 1 / (9 * 128) ** 0.5
    kernel = w.params["body.1.0.weight"]
    assert kernel.shape == module.body[1][0].weight.shape
    assert kernel.abs().max() <= bound and kernel.std() > 0.5 * bound
    assert (w.params["body.1.1.weight"] == 1).all() and (w.params["body.1.1.bias"] == 0).all()


def test_same_path_same_weights():
    family = network("convnet", (1, 8, 8), 3)
    a, b = family.init(Rng.of(0)), family.init(Rng.of(0))
    assert all(torch.equal(a.params[k], b.params[k]) for k in a.params)
    assert not torch.equal(family.init(Rng.of(1)).params["head.weight"], b.params["head.weight"])


def test_calls_equal_the_module():
    family = network("convnet", (3, 8, 8), 4)
    w, x = family.init(Rng.of(0)), torch.randn(5, 3, 8, 8)
    module = ConvNet((3, 8, 8), 4)
    module.load_state_dict({**w.params, **w.buffers})
    torch.testing.assert_close(family.logits(w, x)[0], module(x))
    torch.testing.assert_close(family.features(w, x), module.body(x))


def test_instance_norm_makes_images_independent_and_batch_norm_does_not():
    x = torch.randn(6, 3, 8, 8)
    for norm, independent in (("instance", True), ("batch", False)):
        family = Network(lambda norm=norm: ConvNet((3, 8, 8), 4, norm=norm))
        w = family.init(Rng.of(0))
        together = family.features(w, x, train=True)
        apart = torch.cat([family.features(w, part, train=True) for part in x.split(2)])
        assert torch.allclose(together, apart, atol=1e-5) == independent


def test_running_statistics_come_back_and_are_not_changed_in_place():
    family = Network(lambda: ConvNet((1, 8, 8), 2, norm="batch"))
    w = family.init(Rng.of(0))
    before = {k: v.clone() for k, v in w.buffers.items()}
    _, buffers = family.logits(w, torch.randn(4, 1, 8, 8), train=True)
    assert all(torch.equal(before[k], w.buffers[k]) for k in before)
    assert not torch.equal(buffers["body.0.1.running_mean"], before["body.0.1.running_mean"])


def test_any_module_will_do_and_its_head_can_be_named():
    build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2))  # noqa: E731
    x = torch.randn(3, 1, 4, 4)
    assert Network(build).head == "3"
    assert Network(build).features(Network(build).init(Rng.of(0)), x).shape == (3, 5)
    named = Network(build, head="1")
    assert named.head == "1"


class Averaged(nn.Module):
    """Calls its classifier twice."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(x.flatten(1)) + self.head(x.flip(3).flatten(1))


class Tied(nn.Module):
    """Its classifier's weights are another layer's."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 12)
        self.head = nn.Linear(12, 12)
        self.head.weight = self.first.weight

    def forward(self, x):
        return self.head(self.first(x.flatten(1)))


class Scaled(nn.Module):
    """Writes to what its classifier made."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(x.flatten(1)).mul_(2)


@pytest.mark.parametrize(
    ("build", "ends"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(), nn.Linear(8, 5)), True),
        (lambda: ConvNet((3, 2, 2), 5, width=4, depth=1), True),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Softmax(1)), False),
        (Averaged, False),
        (Scaled, False),
        (Tied, False),
    ],
)
def test_features_and_scores_in_one_pass_where_a_network_ends_in_its_classifier(build, ends):
    family, x = Network(build), torch.randn(3, 3, 2, 2)
    assert family.ends_in_head((3, 2, 2)) == ends
    w = family.init(Rng.of(0))
    if ends:
        for seen, expected in zip(family.seen(w, x), (family.features(w, x), family.scores(w, x)), strict=True):
            assert torch.equal(seen, expected)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'convnet'"):
        network("convnt", (1, 8, 8), 2)
    with pytest.raises(ValueError, match="has no Linear layer"):
        Network(lambda: nn.Flatten())
    with pytest.raises(ValueError, match="no such file"):
        network(f"{tmp_path}/net.py:Net", (1, 8, 8), 2)
    (tmp_path / "net.py").write_text("x = 1")
    with pytest.raises(ValueError, match="has no Net"):
        network(f"{tmp_path}/net.py:Net", (1, 8, 8), 2)
    (tmp_path / "broken.py").write_text("def Net(:")
    with pytest.raises(ValueError, match=r"broken.py does not import: SyntaxError: invalid syntax"):
        network(f"{tmp_path}/broken.py:Net", (1, 8, 8), 2)


@pytest.mark.parametrize(
    "code, told",
    [
        ("Net = unheard_of", "does not import: NameError: name 'unheard_of' is not defined"),
        ("raise SystemExit('bye')", "does not import: SystemExit: bye"),
        ("def Net(shape, classes): return 5", "Net of .*own.py gives no torch module, but int"),
        ("def Net(): pass", "Net of .*own.py cannot be called with \\(shape, classes\\): TypeError"),
        (
            "def Net(shape, classes): raise RuntimeError('no\\nway')",
            "cannot be called with \\(shape, classes\\): RuntimeError: no$",
        ),
        (ONE.format(20, "classes"), "Net does not take images of shape \\(1, 8, 8\\): RuntimeError: "),
        (ONE.format(64, "3"), "Net makes of an image scores of shape \\(1, 3\\), not \\(1, 2\\), one for each class"),
    ],
)
def test_a_file_that_does_not_do_is_told_in_a_sentence(code, told, tmp_path):
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(ValueError, match=told):
        network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)


def test_ones_own_file(tmp_path):
    (tmp_path / "own.py").write_text(ONE.format(64, "classes"))
    family = network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)
    assert family.logits(family.init(Rng.of(0)), torch.zeros(1, 1, 8, 8))[0].shape == (1, 2)
    assert family.key and not family.ours and str(tmp_path) not in family.key + family.name
    (tmp_path / "own.py").write_text(ONE.format(64, "classes") + "# other code")
    other = network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)
    assert family.name.startswith("Net-") and family.name != other.name and family.key != other.key


def test_what_a_network_of_the_users_making_is_cannot_be_known():
    family = Network(partial(own, (1, 8, 8), 2))
    assert family.key is None and not family.ours and network("mlp", (1, 8, 8), 2).key


def own(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def test_perceptron():
    assert (
        sum(p.numel() for p in MLP((1, 28, 28), 10).parameters()) == 784 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    )
