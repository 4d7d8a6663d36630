import copy
import dataclasses
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attar.engine.kernels import first_block_cpu
from attar.engine.run import Run
from attar.networks.architectures import MLP, ConvNet
from attar.networks.by_name import make_network
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng

needs_kernels = pytest.mark.skipif(
    not first_block_cpu.maps_at_a_time(), reason="needs Linux, g++, and a processor with AVX2"
)


@pytest.fixture
def kernels(monkeypatch):
    """The names of the CPU's kernels that were called."""
    called, call = [], first_block_cpu.call

    def watched(name, *given, **others):
        called.append(name)
        call(name, *given, **others)

    monkeypatch.setattr(first_block_cpu, "call", watched)
    return called


def test_same_path_same_weights():
    family = make_network("convnet", (1, 8, 8), 3)
    a, b = family.init(Rng.of(0)), family.init(Rng.of(0))
    assert all(torch.equal(a.params[k], b.params[k]) for k in a.params)
    assert not torch.equal(family.init(Rng.of(1)).params["head.weight"], b.params["head.weight"])


def test_calls_equal_the_module():
    family = make_network("convnet", (3, 8, 8), 4)
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


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3, momentum=0.3), nn.InstanceNorm2d(3, track_running_stats=True)])
def test_statistics_are_those_of_the_images_alone_and_nothing_else_runs_in_train_mode(layer):
    family = Network(lambda: nn.Sequential(copy.deepcopy(layer), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 2)))
    w, x, state = family.init(Rng.of(0)), torch.randn(6, 3, 2, 2), torch.get_rng_state()
    found = family.statistics(w, x)
    torch.testing.assert_close(found["0.running_mean"], x.mean((0, 2, 3)))
    assert (w.buffers["0.running_mean"] == 0).all() and torch.equal(state, torch.get_rng_state())
    assert found.keys() == w.buffers.keys() and family.keeps_statistics


def test_running_statistics_come_back_and_are_not_changed_in_place():
    family = Network(lambda: ConvNet((1, 8, 8), 2, norm="batch"))
    w = family.init(Rng.of(0))
    before = {k: v.clone() for k, v in w.buffers.items()}
    _, buffers = family.logits(w, torch.randn(4, 1, 8, 8), train=True)
    assert all(torch.equal(before[k], w.buffers[k]) for k in before)
    assert not torch.equal(buffers["body.0.1.running_mean"], before["body.0.1.running_mean"])


def test_any_module_will_do_and_its_head_can_be_named():
    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2))

    x = torch.randn(3, 1, 4, 4)
    assert Network(build).head == "3"
    assert Network(build).features(Network(build).init(Rng.of(0)), x).shape == (3, 5)
    named = Network(build, head="1")
    assert named.head == "1"


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="has no Linear layer"):
        Network(lambda: nn.Flatten())


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
    alone = [function(w, x.clone()) for function in (family.features, family.scores)]
    for found, expected in zip(family.features_and_scores_of((3, 2, 2))(w, x.clone()), alone, strict=True):
        assert build is Scaled or torch.equal(found, expected)  # it writes to the images too
    assert (family.features_and_scores_of((3, 2, 2)) == family.features_and_scores) == ends


def test_what_a_network_of_the_users_making_is_cannot_be_known():
    family = Network(partial(own, (1, 8, 8), 2))
    assert family.key is None and not family.replayable and make_network("mlp", (1, 8, 8), 2).key


def own(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


@pytest.mark.parametrize("name", ["convnet", "mlp"])
def test_plain_or_fast_is_no_part_of_a_networks_identity(name):
    """The same key and name, equal, and the same weights drawn; what it computes is the same too."""
    fast = make_network(name, (3, 8, 8), 4)
    plain = dataclasses.replace(fast, twice_differentiable=True)
    assert plain.twice_differentiable and not fast.twice_differentiable
    assert (plain.key, plain.name, plain.head) == (fast.key, fast.name, fast.head)
    assert plain == fast and hash(plain) == hash(fast)
    w, own = fast.init(Rng.of(0)), plain.init(Rng.of(0))
    assert list(w.params) == list(own.params) and list(w.buffers) == list(own.buffers)
    assert all(torch.equal(w.params[key], own.params[key]) for key in w.params)
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(plain.scores(w, x), fast.scores(w, x))
    assert plain.to(torch.device("cpu")).twice_differentiable
    assert pickle.loads(pickle.dumps(plain)).twice_differentiable


@needs_kernels
def test_only_the_fast_one_has_what_cannot_be_differentiated_twice(unchecked, kernels):
    torch.compiler.reset()
    fast = Network(partial(ConvNet, (3, 8, 8), 4, width=32))
    w, x = fast.init(Rng.of(0)), torch.randn(5, 3, 8, 8)
    for family, expected in ((fast, ["first_block"]), (dataclasses.replace(fast, twice_differentiable=True), [])):
        kernels.clear()
        torch.compile(family.scores, fullgraph=True, backend="aot_eager")(w, x)
        assert kernels == expected


def labels(kind, n, k):
    hard = torch.arange(n) % k
    return hard if kind == "hard" else F.one_hot(hard, k).double().lerp(torch.full((n, k), 1 / k).double(), 0.3)


def literal_gradient(module, x, y, **options):
    loss = F.cross_entropy(module(x), y)
    return dict(
        zip(dict(module.named_parameters()), torch.autograd.grad(loss, module.parameters(), **options), strict=True)
    )


def exact_network(build, seed=0):
    """A family in float64, weights of it, and a module of torch's layers that has them."""
    family = Network(build)
    w = family.init(Rng.of(seed))
    w = Weights(*({name: p.double() if p.is_floating_point() else p for name, p in part.items()} for part in w))
    module = build().double()
    module.load_state_dict({**w.params, **w.buffers})
    for layer in module.modules():  # as in the papers: in train mode, with frozen statistics
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    return family, w, module


BUILDS = {
    "convnet": partial(ConvNet, (3, 8, 8), 4, width=16),
    "grey": partial(ConvNet, (1, 28, 28), 4, width=16),
    "batch": partial(ConvNet, (3, 8, 8), 4, width=16, norm="batch"),
    "mlp": partial(MLP, (3, 8, 8), 4),
}


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_the_gradient_is_autograds(build, kind):
    family, w, module = exact_network(build)
    x, y = torch.randn(6, *build.args[0], dtype=torch.float64), labels(kind, 6, 4)
    before = {name: buffer.clone() for name, buffer in w.buffers.items()}
    found = family.gradient(w, x, y)
    torch.testing.assert_close(found, literal_gradient(module, x, y), rtol=1e-10, atol=1e-12)
    assert list(found) == list(w.params) and not any(part.requires_grad for part in found.values())
    assert all(torch.equal(before[name], buffer) for name, buffer in w.buffers.items())


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_the_gradients_derivative_is_that_of_the_literal_double_backward(build, kind):
    """In the images, in the weights, and in soft labels; by `torch.func` and by `torch.autograd`."""
    family, w, module = exact_network(build)
    x, y = torch.randn(6, *build.args[0], dtype=torch.float64), labels(kind, 6, 4)
    targets = {name: torch.randn_like(p) for name, p in w.params.items()}

    def distance(gradient):
        return sum((gradient[name] - target).square().sum() for name, target in targets.items())

    asked = [x.requires_grad_(), *module.parameters()] + ([y.requires_grad_()] if kind == "soft" else [])
    wanted = torch.autograd.grad(distance(literal_gradient(module, x, y, create_graph=True)), asked)

    def ours(x, params, y):
        return distance(family.gradient(Weights(params, w.buffers), x, y))

    at = (0, 1, 2) if kind == "soft" else (0, 1)
    in_images, in_weights, *in_labels = torch.func.grad(ours, at)(x.detach(), w.params, y.detach())
    torch.testing.assert_close([in_images, *in_weights.values(), *in_labels], list(wanted), rtol=1e-10, atol=1e-10)
    params = {name: p.clone().requires_grad_() for name, p in w.params.items()}
    given = [x, *params.values()] + ([y] if kind == "soft" else [])
    found = torch.autograd.grad(ours(x, params, y), given)
    torch.testing.assert_close(list(found), list(wanted), rtol=1e-10, atol=1e-10)


SIZES = [(1, 28, 28), (3, 32, 32)]


def second_order(shape):
    """A function that differentiates a function of the gradient, and its arguments. A kernel fits the first block."""
    family = Network(partial(ConvNet, shape, 10, width=32))
    w, y = family.init(Rng.of(0)), torch.arange(4)
    x, real = (torch.randn(4, *shape, generator=Rng.of(i).generator()) for i in (1, 2))
    targets = family.gradient(w, real, y)

    def matched(w, x, y, targets):
        def distance(x):
            gradient = family.gradient(w, x, y)
            return sum((gradient[name] - target).square().sum() for name, target in targets.items())

        return torch.func.grad(distance)(x)

    return matched, (w, x, y, targets)


@pytest.mark.parametrize("shape", SIZES)
def test_a_gradient_of_gradients_can_be_traced_whole_and_takes_no_kernel(shape, unchecked, kernels):
    torch.compiler.reset()
    function, given = second_order(shape)
    found = torch.compile(function, fullgraph=True, backend="aot_eager")(*given)
    expected = function(*given)
    assert (found - expected).norm() < 1e-5 * expected.norm() and kernels == []


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 0.2)])
@pytest.mark.parametrize("shape", SIZES)
def test_a_compiled_gradient_of_gradients_is_as_near_as_its_precision(shape, precision, bound, unchecked):
    function, given = second_order(shape)
    found = Run(Rng.of(0), precision=precision, compile="on").engine(function, 0)(*given)
    expected = function(*given)
    assert (found - expected).norm() < bound * expected.norm()
