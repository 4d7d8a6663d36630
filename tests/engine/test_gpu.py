"""What must hold on an accelerator; the bits there are its own, its promises are not."""

import dataclasses
import json

import pytest
import torch
from conftest import toy
from test_conformance import LEARNED, small
from test_precision import turned

import attar
from attar.engine.cuda_graphs import Replay
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.structures import leaves
from attar.networks.by_name import make_network
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS
from attar.training.train import train

CUDA = torch.device("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")]
METHODS = {name: small(name, updates=12) for name in LEARNED}


@pytest.fixture(autouse=True)
def as_condense_has_it():
    with use_precision("fp32"):
        yield


every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every
def test_same_seed_same_bits(method):
    task = toy().to(CUDA)
    first, second = (method(task, 2, Run(Rng.of(0), device=CUDA)).images for _ in range(2))
    assert torch.equal(first, second) and first.device.type == "cpu"


@every
def test_compiled_agrees_with_eager(method, unchecked):
    """By how far all pixels went: where rounding turns a ReLU, one moves by more."""
    task, method = toy().to(CUDA), dataclasses.replace(method, updates=2)
    start = dataclasses.replace(method, lr=0.0)(task, 2, Run(Rng.of(0), device=CUDA)).images
    eager, compiled = (
        method(task, 2, Run(Rng.of(0), device=CUDA, compile=compile)).images for compile in ("off", "on")
    )
    assert (eager - compiled).norm() < 0.05 * (eager - start).norm()


def test_recorded_functions_give_what_they_give_when_called():
    """For other values, other shapes, and gradients within."""

    def function(w, x):
        x = x.detach().requires_grad_()
        return {"gradient": torch.autograd.grad((w["a"] * x).sin().sum(), x)[0]}, w["a"].sum()

    replay = Replay(function)
    for n in (3, 5, 3, 5):
        given = {"a": torch.rand(n, device=CUDA)}, torch.rand(2, n, device=CUDA)
        (found, total), (expected, sum_) = replay(*given), function(*given)
        torch.testing.assert_close((found["gradient"], total), (expected["gradient"], sum_))
    assert len(replay.recordings) == 2


def test_a_replayed_start_is_the_modules_own():
    family = make_network("convnet", (3, 16, 16), 5).to(CUDA)
    starts = [family.init(Rng.of(seed)) for seed in (0, 1, 0)]
    for seed, found in zip((0, 1, 0), starts, strict=True):
        with Rng.of(seed).scope(CUDA):
            own = family._start()
        assert all(torch.equal(found.params[name], p) for name, p in own.params.items())
    assert not torch.equal(starts[0].params["head.weight"], starts[1].params["head.weight"])


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 16, 18)])
def test_the_first_block_in_one_kernel_is_as_near_as_bfloat16_is(shape, compile, unchecked, monkeypatch):
    """The features, and their gradients in the images and in what the block learns."""
    family = make_network("convnet", shape, 10).to(CUDA)
    w, errors = family.init(Rng.of(0)), []
    x = torch.randn(300, *shape, device=CUDA, generator=Rng.of(1).generator(CUDA)).requires_grad_()
    inputs = [x, *(w.params[f"body.0.{name}"].requires_grad_() for name in ("0.weight", "1.weight", "1.bias"))]
    up = torch.randn(300, family.width(shape), device=CUDA, generator=Rng.of(2).generator(CUDA))

    def found(function):
        out = function(w, x)
        return out.detach(), *torch.autograd.grad(out, inputs, up)

    exact = found(family.features)
    for fused in (True, False):
        monkeypatch.setattr("attar.engine.fast_layers.HAS_TRITON", fused)
        engine = Run(Rng.of(0), device=CUDA, precision="bf16", compile=compile).engine(family.features, 0)
        errors.append([((a - b).norm() / b.norm()).item() for a, b in zip(found(engine), exact, strict=True)])
    assert all(one < 1.5 * other < 0.3 for one, other in zip(*errors, strict=True)), errors


@every
def test_resumed_equals_uninterrupted(method, tmp_path):
    task = toy().to(CUDA)

    def stop(done, total, loss):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(task, 2, Run(Rng.of(0), tmp_path, device=CUDA, progress=stop))
    whole, parts = (method(task, 2, Run(Rng.of(0), folder, device=CUDA)).images for folder in (None, tmp_path))
    assert torch.equal(whole, parts)
    assert len([json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]) == 12


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_low_precision_turns_pixel_gradients_by_a_few_per_cent(precision, trained):
    assert turned(precision, "gaussian", trained, toy().to(CUDA)) < 0.1


def test_networks_train_side_by_side_as_they_do_alone():
    task = toy()
    made = attar.condense(task, "random", 4)
    for protocol in ("dm", "idc"):
        short = dataclasses.replace(PROTOCOLS[protocol], epochs=20, batch=5)
        options = {"protocol": short, "device": "cuda", "precision": "fp32"}
        together = [row.per_class for row in attar.evaluate(made, task, seeds=3, **options)]
        assert together == [attar.evaluate(made, task, seeds=[seed], **options)[0].per_class for seed in range(3)]


def test_replayed_inner_training_is_the_called_one(monkeypatch):
    """It has a state to go on from, and what it gave stays as it is when it is replayed."""
    task = toy().to(CUDA)
    x, y, w = task.images(torch.arange(12, device=CUDA)), task.train.y[:12], task.network.init(Rng.of(0))
    given = {"batch": 5, "augment": PROTOCOLS["dm"].augment, "cutmix": 0.5}

    def trained():
        run, found = Run(Rng.of(0), device=CUDA), [(w, None)]
        for i in range(3):
            earlier, state = found[-1]
            found.append(train(task.network, earlier, x, y, epochs=1, rng=Rng.of(i), run=run, state=state, **given))
        return [leaf for part in found[1:] for leaf in leaves(part)]

    replayed = trained()
    monkeypatch.setattr(Replay, "__call__", lambda self, *arguments: self.function(*arguments))
    torch.testing.assert_close(replayed, trained())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_of_gradients_compiles_and_is_as_near_as_its_precision(precision, unchecked):
    shape = (3, 32, 32)
    family = make_network("convnet", shape, 10).to(CUDA)
    w, y = family.init(Rng.of(0)), torch.arange(10, device=CUDA)
    x = torch.randn(10, *shape, device=CUDA, generator=Rng.of(1).generator(CUDA))

    def second(w, x, y):
        return torch.func.grad(lambda x: sum(part.square().sum() for part in family.gradient(w, x, y).values()))(x)

    engine = Run(Rng.of(0), device=CUDA, precision=precision, compile="on").engine(second)
    found, exact = engine(w, x, y), second(w, x, y)
    assert (found - exact).norm() < {"fp32": 1e-3, "bf16": 0.3}[precision] * exact.norm()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if hasattr(method, "factor")])
def test_tiles_that_do_not_fill_an_image_are_replayed_too(name):
    method = dataclasses.replace(METHODS[name], factor=2, init="mix", updates=3)
    made = method(toy(side=9).to(CUDA), 1, Run(Rng.of(0), device=CUDA))
    assert made.images.isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_condense_and_evaluate(precision):
    task = toy()
    made = attar.condense(task, "dm", 2, updates=5, batch_real=8, device="cuda", precision=precision)
    rows = attar.evaluate(made, task, protocol="quick", seeds=2, device="cuda", precision=precision)
    assert all(row.accuracy > 50 for row in rows)
