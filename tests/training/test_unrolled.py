"""Gradients through training against one graph of all its steps, plainly written, in float64."""

import dataclasses
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from attar.augment.dsa import Augment, apply
from attar.engine.run import Run
from attar.engine.structures import leaves
from attar.networks.architectures import MLP, ConvNet
from attar.networks.network import Network
from attar.networks.second_order import twice_differentiable
from attar.networks.weights import TRAINING, Weights, flatten
from attar.rng import Rng
from attar.training.protocol import DSA
from attar.training.train import SGD, Adam, train
from attar.training.unrolled import ADJOINT, Student, Unrolled, draw_steps

RNG, SHAPE, CLASSES, N = Rng.of(4), (3, 8, 8), 3, 7
PLAIN, MOMENTUM = SGD(0.0, 0.0, 0.0), SGD(0.0, 0.9, 0.01)
ADAM = Adam(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.01)


def draw(i, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=Rng.of(i).generator(), dtype=dtype)


def cast(w, dtype):
    return Weights(*({name: p.to(dtype) if p.is_floating_point() else p for name, p in part.items()} for part in w))


BUILDS = {
    "convnet": partial(ConvNet, SHAPE, CLASSES, width=4, depth=1),
    "batch": partial(ConvNet, SHAPE, CLASSES, width=4, depth=1, norm="batch"),
    "mlp": partial(MLP, SHAPE, CLASSES),
}


@dataclasses.dataclass
class Case:
    """A student, what it learns from, and what is asked of it at the end."""

    network: Network
    w: Weights
    x: torch.Tensor
    y: torch.Tensor
    lr: torch.Tensor
    target: dict[str, torch.Tensor]

    def outer(self, w):
        apart, start = (
            sum((p - self.target[name]).square().sum() for name, p in at.items()) for at in (w.params, self.w.params)
        )
        return apart / start

    @property
    def learned(self):
        return [part for part in (self.x, self.y, self.lr) if part.requires_grad]

    def found(self, optimiser, steps, through="exact", run=None, **options):
        unrolled = Unrolled.of(self.network, SHAPE, optimiser, 0, run or Run(RNG), through)
        value = unrolled(self.outer, self.w, self.x, self.y, self.lr, steps, **options)
        return value.detach(), torch.autograd.grad(value, self.learned)


def make(build="convnet", soft=False, lr=0.05, dtype=torch.float64):
    network = Network(BUILDS[build])
    w = cast(network.init(Rng.of(1)), dtype)
    x, lr = draw(2, N, *SHAPE, dtype=dtype).requires_grad_(), torch.tensor(lr, dtype=dtype).requires_grad_()
    y = draw(3, N, CLASSES, dtype=dtype).softmax(1).requires_grad_() if soft else torch.arange(N) % CLASSES
    target = {name: p + 0.1 * draw(5, *p.shape, dtype=dtype) for name, p in w.params.items()}
    return Case(network, w, x, y, lr, target)


def unroll(case, optimiser, steps, skip=0, through="exact"):
    """One graph of all steps, as MTT's authors build it; for TESLA gradients are taken at copies without a graph."""
    params, memory = dict(case.w.params), {}
    for i, (rows, augmentation) in enumerate(steps):
        if i <= skip:
            params, memory = ({name: p.detach() for name, p in part.items()} for part in (params, memory))
        x, y = (case.x, case.y) if rows is None else (case.x[rows], case.y[rows])
        x = x if augmentation is None else apply(x[:, None], augmentation)[:, 0]
        plain = i <= skip or through == "tesla"
        at = {name: p.detach().requires_grad_() for name, p in params.items()} if plain else params
        loss = F.cross_entropy(case.network.scores(Weights(at, case.w.buffers), x), y)
        gradient = torch.autograd.grad(loss, list(at.values()), create_graph=True)
        lr = case.lr[i] if case.lr.ndim else case.lr
        params = {
            name: p - lr * move(optimiser, memory, name, g + optimiser.weight_decay * p, i + 1)
            for (name, p), g in zip(params.items(), gradient, strict=True)
        }
    value = case.outer(Weights(params, {}))
    return value.detach(), torch.autograd.grad(value, case.learned)


def move(optimiser, memory, name, g, t):
    """Along what a parameter moves, which has seen `t` gradients."""
    if isinstance(optimiser, SGD):
        memory[name] = v = optimiser.momentum * memory.get(name, 0) + g
        return v
    (a, b), first, second = optimiser.betas, f"{name} first", f"{name} second"
    memory[first] = m = a * memory.get(first, 0) + (1 - a) * g
    memory[second] = v = b * memory.get(second, 0) + (1 - b) * g**2
    return m / (1 - a**t) / ((v / (1 - b**t)).sqrt() + optimiser.eps)


def assert_near(found, expected, bound):
    (value, gradients), (wanted, wanted_gradients) = found, expected
    assert value == pytest.approx(wanted.item(), rel=bound)
    assert len(gradients) == len(wanted_gradients)
    for own, other in zip(gradients, wanted_gradients, strict=True):
        assert other.norm() > 0 and (own - other).norm() <= bound * other.norm()


RATES = [0.05, 0.02, 0.0, 0.1, 0.03]


@pytest.mark.parametrize("optimiser", [PLAIN, MOMENTUM, ADAM], ids=["plain", "momentum", "adam"])
@pytest.mark.parametrize(
    ("total", "batch", "augment", "soft", "lr"),
    [
        (1, None, None, True, 0.05),
        (5, None, DSA, False, RATES),
        (5, 3, DSA, True, RATES),  # two epochs of rows 3, 3, 1
        (5, 3, Augment("color_crop_cutout_flip_scale_rotate", "dc"), True, 0.05),
        (20, 4, DSA, False, 0.05),
    ],
)
def test_equals_one_graph_of_all_steps(optimiser, total, batch, augment, soft, lr):
    case = make(soft=soft, lr=lr)
    steps = draw_steps(case.x, total, RNG, batch, augment)
    assert_near(case.found(optimiser, steps), unroll(case, optimiser, steps), 1e-10)


@pytest.mark.parametrize("build", ["batch", "mlp"])
def test_equals_one_graph_in_any_network(build):
    case = make(build, soft=True)
    steps = draw_steps(case.x, 4, RNG, 4)
    assert_near(case.found(MOMENTUM, steps), unroll(case, MOMENTUM, steps), 1e-10)


@pytest.mark.parametrize("optimiser", [PLAIN, MOMENTUM, ADAM], ids=["plain", "momentum", "adam"])
def test_what_the_first_steps_learn_counts_as_given(optimiser):
    """A window, as RaT-BPTT has it: what the optimiser remembers goes on, its derivative does not."""
    case = make(soft=True, lr=RATES)
    steps = draw_steps(case.x, 5, RNG, 3, DSA)
    found = case.found(optimiser, steps, skip=3)
    assert_near(found, unroll(case, optimiser, steps, skip=3), 1e-10)
    in_x, in_y, in_lr = found[1]
    unseen = ~torch.isin(torch.arange(N), torch.cat([step.rows for step in steps[3:]]))
    assert unseen.any() and not in_x[unseen].any() and not in_y[unseen].any() and not in_lr[:3].any()
    assert not any(part.any() for part in case.found(optimiser, steps, skip=5)[1])


def test_agrees_with_finite_differences():
    case = make(soft=True, lr=RATES)
    steps = draw_steps(case.x, 5, RNG, 3, DSA)
    _, gradients = case.found(ADAM, steps)
    for i, (name, gradient) in enumerate(zip(("x", "y", "lr"), gradients, strict=True)):
        along, given = 1e-6 * draw(i, *gradient.shape), getattr(case, name)
        up, down = (
            dataclasses.replace(case, **{name: (given + side * along).detach().requires_grad_()}).found(ADAM, steps)[0]
            for side in (1, -1)
        )
        assert (up - down).item() / 2 == pytest.approx((gradient * along).sum().item(), rel=1e-4)


def test_single_precision_is_near():
    single, double = (make(soft=True, lr=RATES, dtype=dtype) for dtype in (torch.float32, torch.float64))
    double.w = cast(single.w, torch.float64)
    for name in ("x", "y", "lr"):
        setattr(double, name, getattr(single, name).detach().double().requires_grad_())
    double.target = {name: p.double() for name, p in single.target.items()}
    steps = draw_steps(single.x, 5, RNG, 3, DSA)
    assert_near(single.found(MOMENTUM, steps), double.found(MOMENTUM, steps), 1e-4)


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, of those that were made inside, and none of `known`."""

    def __init__(self, known):
        super().__init__()
        self.bytes = self.most = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in known if isinstance(tensor, torch.Tensor)}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.watch(tensor.untyped_storage())
        return made

    def watch(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.bytes += size
            self.most = max(self.most, self.bytes)
            weakref.finalize(storage, self.forget, key, size)

    def forget(self, key, size):
        self.known.discard(key)
        self.bytes -= size


def most_bytes(function, case, optimiser, total):
    steps = draw_steps(case.x, total, RNG, 4, DSA)
    with Alive(leaves((steps, case.x, case.y))) as alive:
        function(optimiser, steps)
    return alive.most


@pytest.mark.parametrize(
    ("optimiser", "copies", "totals"),
    [(PLAIN, 1, (10, 50, 200)), (MOMENTUM, 2, (10, 50)), (ADAM, 3, (10, 50))],
    ids=["plain", "momentum", "adam"],
)
def test_memory_grows_with_the_steps_by_copies_of_the_parameters_alone(optimiser, copies, totals):
    case = make(soft=True, lr=0.001)
    copy = copies * 8 * len(flatten(case.w.params))
    first, *others = [most_bytes(case.found, case, optimiser, total) - total * copy for total in totals]
    assert all(abs(other - first) < 0.03 * first for other in others)


def test_steps_that_count_as_given_take_no_memory():
    case = make(soft=True, lr=0.001)
    windows = [most_bytes(partial(case.found, skip=skip), case, ADAM, skip + 10) for skip in (0, 40)]
    assert windows[1] == pytest.approx(windows[0], rel=0.03)


def test_memory_grows_by_a_steps_maps_where_all_steps_are_one_graph():
    """So that the test above counts what it is there for."""
    case = make(soft=True, lr=0.001)
    first, second = (most_bytes(partial(unroll, case), case, PLAIN, total) for total in (5, 10))
    assert second > 1.7 * first > 2 * most_bytes(case.found, case, PLAIN, 10)


def cosine(a, b):
    return F.cosine_similarity(*(torch.cat([part.flatten() for part in side]) for side in (a, b)), dim=0).item()


def test_tesla_takes_the_parameters_for_constants():
    case = make(soft=True, lr=0.05)
    angles = []
    for total in (1, 3, 20):
        steps = draw_steps(case.x, total, RNG, None, DSA)
        tesla, exact = (case.found(PLAIN, steps, through) for through in ("tesla", "exact"))
        assert_near(tesla, unroll(case, PLAIN, steps, through="tesla"), 1e-10)
        assert tesla[0] == exact[0]
        angles.append(cosine(tesla[1][:2], exact[1][:2]))
    assert angles[0] == pytest.approx(1, abs=1e-12) and 1 - 1e-6 > angles[1] > angles[2]


@pytest.mark.parametrize("optimiser", [SGD(0.05, 0.9, 0.01), dataclasses.replace(ADAM, lr=0.02)], ids=["sgd", "adam"])
def test_a_student_walks_as_train_does(optimiser):
    """By the same random numbers."""
    case, ends = make(lr=optimiser.lr), []
    unrolled = Unrolled.of(case.network, SHAPE, optimiser, 0, Run(RNG))
    steps = draw_steps(case.x, 5, RNG, 3, DSA)
    unrolled(lambda w: ends.append(w) or case.outer(w), case.w, case.x, case.y, case.lr, steps)
    options = {"batch": 3, "augment": DSA, "optimiser": optimiser}
    trained, _ = train(case.network, case.w, case.x, case.y, steps=5, rng=RNG, run=Run(RNG), **options)
    torch.testing.assert_close(ends[0].params, trained.params, rtol=1e-9, atol=1e-12)


def test_adam_steps_as_torch_does():
    given = {"a": draw(1, 4), "b": draw(2, 2, 3)}
    theirs = {name: p.clone().requires_grad_() for name, p in given.items()}
    opt = torch.optim.Adam(theirs.values(), lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)
    ours = Adam(0.02, (0.8, 0.95), 1e-3, 0.1)
    moments = ours.start(given)
    for i in range(6):
        gradient = {name: draw(10 + i, *p.shape) for name, p in given.items()}
        given, moments = ours.step(given, gradient, moments)
        for name, p in theirs.items():
            p.grad = gradient[name]
        opt.step()
        torch.testing.assert_close(given, {name: p.detach() for name, p in theirs.items()}, rtol=1e-12, atol=1e-12)


def test_adam_is_differentiated_where_gradients_are_zero():
    """A pixel that is 0 in all images: its weights have no gradient, until the pixel changes."""
    case, optimiser = make("mlp"), Adam(eps=0.1)
    with torch.no_grad():
        case.x[:, 0, 0, 0] = 0
    steps = draw_steps(case.x, 3, RNG)
    assert unroll(case, optimiser, steps)[1][0].isnan().any()  # torch's own derivative of the root is infinite
    along = torch.zeros_like(case.x)
    along[:, 0, 0, 0] = 1e-6 * draw(7, N)
    up, down = (
        dataclasses.replace(case, x=(case.x + side * along).detach().requires_grad_()).found(optimiser, steps)[0]
        for side in (1, -1)
    )
    expected = (case.found(optimiser, steps)[1][0] * along).sum().item()
    assert (up - down).item() / 2 == pytest.approx(expected, rel=1e-3)


def test_the_outer_loss_is_any_function_of_the_weights():
    """Here of one parameter; the others have no part in it."""
    case = make()
    case.outer = lambda w: w.params["head.bias"].square().sum()
    steps = draw_steps(case.x, 3, RNG)
    assert_near(case.found(MOMENTUM, steps), unroll(case, MOMENTUM, steps), 1e-10)


@pytest.mark.parametrize("through", ADJOINT)
def test_its_cost_is_what_the_engine_is_told(through):
    shape = 3, 16, 16
    network = Network(partial(ConvNet, shape, CLASSES, width=64, depth=2), twice_differentiable=True)
    w, x, y = network.init(Rng.of(0)), torch.randn(4, *shape), torch.zeros(4, dtype=torch.long)
    student, start, forward = Student(network, PLAIN, through), PLAIN.start(w.params), 4 * network.flop(shape)
    for function, passes in ((student.step, TRAINING), (partial(student.pull, up=(w.params, start)), ADJOINT[through])):
        with FlopCounterMode(display=False) as counter:
            function(w, start, x, y, torch.tensor(0.1))
        assert counter.get_total_flops() == pytest.approx(passes * forward, rel=0.1)


@pytest.mark.parametrize(
    ("lr", "skip", "told"),
    [([0.1, 0.1], 0, "one for each of the 3 steps"), (0.1, 4, "between 0 and 3, not 4"), (0.1, -1, "not -1")],
)
def test_what_does_not_fit_the_steps_is_refused(lr, skip, told):
    case = make(lr=lr)
    with pytest.raises(ValueError, match=told):
        case.found(PLAIN, draw_steps(case.x, 3, RNG), skip=skip)


def test_a_step_and_its_adjoint_can_be_traced_whole(unchecked):
    case = make("mlp", soft=True)
    student = Student(twice_differentiable(case.network, SHAPE), ADAM, "exact")
    given = case.w, ADAM.start(case.w.params), case.x.detach(), case.y.detach(), case.lr.detach()
    for function, options in ((student.step, ()), (student.pull, (student.step(*given),))):
        traced = torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")
        torch.testing.assert_close(traced(*given, *options), function(*given, *options), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_compiled_equals_eager(unchecked):
    case = make(soft=True)
    steps = draw_steps(case.x, 3, RNG, 4, DSA)
    assert_near(case.found(MOMENTUM, steps, run=Run(RNG, compile="on")), case.found(MOMENTUM, steps), 1e-10)
