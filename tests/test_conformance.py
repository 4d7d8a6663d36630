"""Every method keeps every promise. Methods are found by their files; a new one is tested the moment it is there."""

import dataclasses
import functools
import json
import math

import pytest
import torch
from conftest import narrow, toy, watch_updates
from torch import nn

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.data.task import Examples, Task
from attar.engine.precision import Precision, default_precision
from attar.engine.run import Run
from attar.files import read_tensors
from attar.methods import find, list_names
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.rng import CPU, Rng
from attar.runs.recipe import read_recipe, resolve
from attar.synthesis.checkpoint import CHECKPOINT
from attar.training.protocol import PROTOCOLS

FEW, ENOUGH = 2, 1  # budgets of the recipes for toys: a few updates, and enough of them to beat random selection


def fields_of(name: str) -> set[str]:
    return {f.name for f in dataclasses.fields(find(name))}


LEARNED = [name for name in list_names() if not find(name).__module__.startswith("attar.methods.selection.")]
FREE = [name for name in list_names() if getattr(find(name), "decides_budget", False)]  # how many is an outcome
BUDGETED = [name for name in list_names() if name not in FREE]
LOOKING = [name for name in LEARNED if "batch_real" in fields_of(name)]  # whose updates look at real images
FROM_REAL = [name for name in BUDGETED if name not in LEARNED or "init" in fields_of(name)]
SEEING = [name for name in LEARNED if name != "kip"]  # with networks
SEPARABLE = [name for name in list_names() if find(name).separable]
every = pytest.mark.parametrize("name", list_names())
budgeted = pytest.mark.parametrize("name", BUDGETED)
free = pytest.mark.parametrize("name", FREE)
learned = pytest.mark.parametrize("name", LEARNED)
separable = pytest.mark.parametrize("name", SEPARABLE)


def small(name: str, *, budget: int = FEW, **settings):
    """The method as its recipe for toys has it, and `settings` where it has them."""
    return resolve(name, "toy", budget, {k: v for k, v in settings.items() if k in fields_of(name)}).method


def asked(name: str, ipc: int) -> int | None:
    """The budget, where the method takes one."""
    return None if name in FREE else ipc


def run(seed: int = 0, **options) -> Run:
    return Run(Rng.of(seed), **options)


def assert_same(a: CondensedSet, b: CondensedSet) -> None:
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)


class Stop(Exception):
    pass


def stop_at(update: int):
    def progress(done, total, loss):
        if done == update:
            raise Stop

    return progress


@pytest.fixture
def task() -> Task:
    """With a narrow network, whose passes cost next to nothing."""
    return narrow(toy())


@functools.cache
def made(name: str) -> CondensedSet:
    """Two images a class of the fixture's task: what a run in other circumstances has to equal."""
    return small(name)(narrow(toy()), asked(name, 2), run())


@learned
def test_what_the_other_tests_need_is_there(name):
    assert "updates" in fields_of(name), f"{name} has no field `updates`"
    budgets = read_recipe(name, "toy").get("ipc", {})
    assert {str(FEW), str(ENOUGH)} <= budgets.keys(), f"write recipes/{name}/toy.toml: see docs/extending.md"


@budgeted
def test_classes_and_counts_as_asked(name, task):
    found = small(name)(task, 3, run())
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.images.shape == (9, 1, 8, 8)
    assert found.images.isfinite().all()


@every
def test_input_and_global_generators_are_left_alone(name, task):
    given = [*task.train.tensors.values(), *task.test.tensors.values()]
    before, state = [t.clone() for t in given], torch.get_rng_state()
    small(name)(task, asked(name, 2), run())
    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@every
def test_same_seed_same_bits_another_seed_another_set(name, task):
    first = made(name)
    torch.rand(3)  # what global generators hold must not matter
    assert_same(first, small(name)(task, asked(name, 2), run()))
    if name not in ("herding", "k-center", "nearest-mean", *FREE):  # the seed has little or nothing to say in these
        assert not torch.equal(first.images, small(name)(task, 2, run(seed=1)).images)


class Dropping(ConvNet):
    """A tenth of each map is left out."""

    def __init__(self, shape, classes):
        super().__init__(shape, classes, width=8)
        for i, part in enumerate(self.body):
            if isinstance(part, nn.Sequential):
                self.body[i] = nn.Sequential(*part[:-1], nn.Dropout(0.1), part[-1])


@every
def test_a_network_with_dropout_keeps_the_promises_too(name, task, tmp_path):
    mixed, method = dataclasses.replace(task, network=Network(lambda: Dropping(task.shape, 3))), small(name)
    whole = method(mixed, asked(name, 2), run())
    torch.rand(3)
    assert_same(whole, method(mixed, asked(name, 2), run()))
    if name in LEARNED:
        with pytest.raises(Stop):
            method(mixed, 2, run(folder=tmp_path, progress=stop_at(5)))
        torch.rand(3)
        assert_same(whole, method(mixed, 2, run(folder=tmp_path)))


def test_layers_are_seen_without_dropout(task):
    family = Network(lambda: Dropping(task.shape, 3))
    w, x = family.init(Rng.of(0)), task.images(torch.arange(5))
    torch.testing.assert_close(family.layers(w, x)[-1], family.features(w, x))


@learned
def test_resumed_equals_uninterrupted(name, task, tmp_path):
    whole = small(name)(task, 2, run(folder=tmp_path / "whole"))
    folder = tmp_path / "parts"
    with pytest.raises(Stop):
        small(name)(task, 2, run(folder=folder, progress=stop_at(5)))
    assert_same(whole, small(name)(task, 2, run(folder=folder)))
    losses = [
        [json.loads(line)["loss"] for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (tmp_path / "whole", folder)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == small(name).updates


@learned
def test_evaluating_on_the_way_changes_nothing(name, task):
    def look(done, total, loss):
        if done == 3:
            attar.evaluate(
                CondensedSet.whole(task), task, protocol=dataclasses.replace(PROTOCOLS["quick"], steps=2), seeds=1
            )

    assert_same(made(name), small(name)(task, 2, run(progress=look)))


@separable
def test_class_shards_equal_the_whole(name, task):
    assert_shards_equal(name, task, made(name))


def assert_shards_equal(name: str, task: Task, whole: CondensedSet) -> None:
    method = small(name)
    parts = CondensedSet.concat([method(task, asked(name, 2), run(classes=classes)) for classes in ((2, 0), (1,))])
    if hasattr(method, "calibration"):  # class scores are products whose rounding depends on how many images there are
        torch.testing.assert_close(whole.images, parts.images, rtol=1e-4, atol=1e-5)
    else:
        assert_same(whole, parts)


@every
def test_chunks_of_classes_change_rounding_only(name, task):
    parts = small(name)(task, asked(name, 2), run(chunk=2))
    torch.testing.assert_close(made(name).images, parts.images, rtol=1e-4, atol=1e-5)


@every
def test_saved_and_loaded_is_the_same_and_its_provenance_complete(name, task, tmp_path):
    saved = attar.condense(task, name, asked(name, 2), seed=5, out=tmp_path / "run")
    loaded = attar.load(tmp_path / "run")
    assert_same(saved, loaded)
    assert torch.equal(saved.as_dataset().tensors[0], loaded.as_dataset().tensors[0])
    for field in ("classes", "normalisation", "factor", "space", "provenance"):
        assert getattr(saved, field) == getattr(loaded, field)
    about = saved.provenance
    assert (about["method"], about["data"], about["ipc"], about["seed"]) == (name, "toy", asked(name, 2), 5)
    assert about["fingerprint"] == task.fingerprint
    assert about["hyperparameters"] == dataclasses.asdict(small(name))
    assert about["seconds"] >= 0
    assert about["versions"]["torch"] == torch.__version__
    assert {"device", "precision", "compile", "threads", "ran"} <= about["engine"].keys()
    json.dumps(about)


@every
def test_an_unknown_hyperparameter_is_refused(name, task):
    with pytest.raises(ValueError, match=r"no_such"):
        attar.condense(task, name, asked(name, 2), no_such=1)


@every
@pytest.mark.parametrize("channels, side", [(1, 9), (3, 8), (3, (7, 10))], ids=["odd", "colour", "oblong"])
def test_grey_and_colour_and_odd_sizes(name, channels, side):
    found = small(name, factor=2, init="mix")(narrow(toy(channels, side)), asked(name, 1), run())
    assert found.images.shape[1] == channels
    assert found.as_dataset().tensors[0].shape[1:] == found.images.shape[1:]


@free
def test_a_method_that_decides_its_budget_keeps_real_images_of_every_class_and_takes_no_number(name, task):
    found = small(name)(task, None, run())
    assert found.ipc is None and found.labels.unique().tolist() == [0, 1, 2]
    chosen = torch.tensor(found.provenance["indices"])
    assert torch.equal(found.images, unit(task.raw(chosen))) and len(chosen.unique()) == len(chosen)
    for ask in (attar.condense, attar.plan):
        with pytest.raises(ValueError, match=rf"{name} decides how many images it keeps: leave ipc out, not 2"):
            ask(task, name, 2)


@budgeted
def test_unequal_classes(name):
    found = small(name)(narrow(toy(counts=(5, 40, 12))), 4, run())  # batch_real is 8: the first class repeats itself
    assert found.labels.bincount().tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", FROM_REAL)
def test_too_small_a_class_is_named(name):
    with pytest.raises(ValueError, match=r"class 'b' has 3 images, fewer than the 5"):
        small(name, init="real")(toy(counts=(20, 3, 20)), 5, run())


@every
def test_a_perceptron_will_do(name):
    found = small(name)(toy(architecture="mlp"), asked(name, 2), run()).labels
    assert len(found) == 6 or name in FREE


@pytest.mark.parametrize("name", LOOKING)
def test_nan_in_the_loss_is_caught_and_the_last_good_state_kept(name, task, tmp_path):
    floats = Examples(unit(task.train.x), task.train.y)

    def poison(done, total, loss):
        if done == 6:
            floats.x.fill_(math.nan)

    with pytest.raises(ValueError, match=r"became n.* update 6"):
        small(name, updates=9)(dataclasses.replace(task, train=floats), 2, run(folder=tmp_path, progress=poison))
    tensors, meta = read_tensors(tmp_path / CHECKPOINT)
    assert meta["done"] in (4, 6) and all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("name", [name for name in LEARNED if name not in LOOKING])
def test_images_that_run_away_are_caught_and_the_last_good_state_kept(name, task, tmp_path):
    with pytest.raises(ValueError, match=r"became (nan|inf)"):
        small(name, updates=50, lr=1e30)(task, 2, run(folder=tmp_path))
    tensors, _ = read_tensors(tmp_path / CHECKPOINT)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@dataclasses.dataclass(frozen=True)
class Normalising:
    """Builds a narrow ConvNet with batch normalisation. It has a key, as in `Narrow`."""

    shape: tuple[int, ...]
    classes: int

    def __call__(self) -> ConvNet:
        return ConvNet(self.shape, self.classes, width=8, norm="batch")

    @property
    def key(self) -> str:
        return str(self)


def normalising(task: Task) -> Task:
    return dataclasses.replace(task, network=Network(Normalising(task.shape, len(task.classes))))


@learned
def test_a_network_with_batch_normalisation_keeps_the_promises_too(name, task, tmp_path):
    mixed, method = normalising(task), small(name)
    whole = method(mixed, 2, run())
    torch.rand(3)
    assert_same(whole, method(mixed, 2, run()))
    with pytest.raises(Stop):
        method(mixed, 2, run(folder=tmp_path, progress=stop_at(5)))
    assert_same(whole, method(mixed, 2, run(folder=tmp_path)))
    if name in SEPARABLE:
        assert_shards_equal(name, mixed, whole)


@pytest.mark.parametrize("name", SEEING)
def test_batch_normalisation_is_frozen_at_the_statistics_of_real_images(name, task, monkeypatch):
    """Whoever looks with other statistics does not notice these."""

    def poison(self, w, x):
        return {key: value * math.nan if value.is_floating_point() else value for key, value in w.buffers.items()}

    monkeypatch.setattr(Network, "statistics", poison)
    with pytest.raises(ValueError, match=r"became n"):
        small(name)(normalising(task), 1, run())


@pytest.fixture
def backend(request, unchecked, monkeypatch):
    """Who compiles. `aot_eager` makes the graphs that `inductor` would, and runs them as they are."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=request.param))
    return request.param


USUAL = default_precision(CPU)  # what this machine multiplies in
backends = pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)], indirect=True
)
precisions = pytest.mark.parametrize(
    "precision", [USUAL, *(pytest.param(other, marks=pytest.mark.slow) for other in {"fp32"} - {USUAL})]
)


def is_a_variant(name: str) -> bool:
    """Whether it is a subclass of another method, and so compiles the same functions."""
    return any(issubclass(find(name), find(other)) for other in LEARNED if other != name)


slow_variants = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if is_a_variant(name) else name for name in LEARNED]
)


@backends
@slow_variants
def test_compiled_it_takes_the_eager_steps_and_nothing_recompiles(name, exact, backend):
    """In float64, while networks come, are trained and go."""
    exact, method, graphs = narrow(exact, depth=1), small(name, updates=12), []
    count = torch._dynamo.utils.counters["stats"]

    def watch(done, total, loss):
        if not math.isnan(loss):  # not while networks are trained first
            graphs.append(count["unique_graphs"])

    watched = run(compile="on", progress=watch)
    eager, compiled = (method(exact, 1, own).images for own in (run(compile="off"), watched))
    assert watched.ledger.flop.keys() == {"compiled"}, "a learned method runs its networks whole on the run's engine"
    assert graphs[0] > 0 and len(set(graphs[6:])) == 1
    assert eager.dtype == torch.float64
    torch.testing.assert_close(eager, compiled, rtol=1e-10, atol=1e-10)


@precisions
@backends
@slow_variants
def test_compiled_gradients_are_the_eager_ones_in_what_users_run(name, precision, backend):
    """In what this machine multiplies in and in float32, where kernels take the place of layers."""
    assert_same_gradients(name, narrow(toy(), depth=1) if backend == "aot_eager" else toy(), precision)


def test_what_inductor_makes_of_the_networks_that_methods_share_gives_the_eager_gradients(unchecked):
    assert_same_gradients("m3d", narrow(toy(), depth=1), "fp32")


def assert_same_gradients(name: str, task: Task, precision: Precision) -> None:
    """No step is taken, so that rounding cannot add up: what is left is that of one forward and one backward pass."""
    method = small(name, updates=3, lr=0.0)
    eager, compiled = (
        watch_updates(method, task, 1, run(compile=compile, precision=precision)) for compile in ("off", "on")
    )
    assert len(eager) == 3
    for (_, a), (_, b) in zip(eager, compiled, strict=True):
        a, b = (torch.cat([gradient.flatten() for gradient in gradients]) for gradients in (a, b))
        assert (a - b).norm() < {"fp32": 1e-3, "bf16": 0.3}[precision] * a.norm()


@pytest.mark.slow
@learned
def test_learning_beats_random_selection(name):
    assert accuracy(name) > accuracy("random") + 3


@functools.cache
def accuracy(name: str) -> float:
    """Mean over three condensations of a harder toy, two networks each."""
    task = toy(side=12, counts=(60,) * 4, contrast=0.12)
    task = dataclasses.replace(task, network=Network(lambda: ConvNet(task.shape, 4, width=32)))
    sets = [small(name, budget=ENOUGH)(task, 1, run(seed)) for seed in range(3)]
    # A generator is judged by fresh images: a sample of it is but another random image.
    protocol = dataclasses.replace(PROTOCOLS["quick"], steps=30, fresh=sets[0].generative)
    rows = attar.evaluate(sets, task, protocol=protocol, seeds=2)
    return sum(row.accuracy for row in rows) / len(rows)
