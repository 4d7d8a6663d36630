"""What must hold on an accelerator; the bits there are its own, its promises are not."""

import json

import pytest
import torch
from conftest import toy
from test_conformance import LEARNED, small
from test_run import turned

import attar
from attar.rng import Rng
from attar.run import Run, full_precision, sliced

CUDA = torch.device("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")]
METHODS = {name: small(name, updates=12) for name in LEARNED}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every
def test_same_seed_same_bits(method):
    task = toy().to(CUDA)
    first, second = (method(task, 2, Run(Rng.of(0), device=CUDA)).images for _ in range(2))
    assert torch.equal(first, second) and first.device.type == "cpu"


@every
def test_compiled_agrees_with_eager(method, unchecked):
    task = toy().to(CUDA)
    with full_precision(unless=False):
        eager, compiled = (method(task, 2, Run(Rng.of(0), device=CUDA, compile=compile)).images for compile in ("off", "on"))
    torch.testing.assert_close(eager, compiled, rtol=1e-3, atol=1e-3)


def test_replayed_graphs_agree_with_eager_calls(unchecked):
    """Slices of real images, then synthetic images and their backward: replays that must not write over one another's results."""
    task = toy().to(CUDA)
    x, r = (task.sample(range(3), n, Rng.of(n)).flatten(0, 1) for n in (4, 20))
    found = []
    for compile in ("off", "on"):
        engine, slopes = Run(Rng.of(0), device=CUDA, compile=compile).engine(task.network.features, 0), []
        for i in range(4):  # warm-up, capture, and replays with other weights
            w, images = task.network.init(Rng.of(i)), x.clone().requires_grad_()
            with full_precision(unless=False):
                with torch.no_grad():
                    real = sliced(lambda part, w=w, engine=engine: engine(w, part), r, 10)
                synthetic = engine(w, images)
                (synthetic.mean(0) - real.mean(0)).square().sum().backward()
            slopes.append(images.grad.clone())  # it may lie in the graph
        found.append(torch.stack(slopes))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


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


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_condense_and_evaluate(precision):
    task = toy()
    made = attar.condense(task, "dm", 2, updates=5, batch_real=8, device="cuda", precision=precision)
    rows = attar.evaluate(made, task, protocol="quick", seeds=2, device="cuda", precision=precision)
    assert all(row.accuracy > 50 for row in rows)
