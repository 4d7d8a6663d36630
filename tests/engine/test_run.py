import subprocess
import sys

import pytest
import torch

from attar.distances.by_name import DISCREPANCIES
from attar.engine.compiling import worth_compiling
from attar.engine.device import eager_flops
from attar.engine.precision import default_precision, use_precision
from attar.engine.run import GRAPH, SLICE, Run
from attar.engine.slices import at_rows, even_size, map_slices
from attar.methods.distribution.dm import DM
from attar.methods.distribution.m3d import M3D
from attar.networks.by_name import network
from attar.rng import Rng
from attar.training.pretrained import pretrain

CPU = torch.device("cpu")


def test_chunks_and_shards():
    run = Run(Rng.of(0), chunk=7)
    assert [list(c) for c in run.chunks(range(7), 2)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(c) for c in run.chunks(range(10), 1)] == [5, 5]  # equal groups: one shape to compile
    assert [list(c) for c in run.chunks(range(3), 8)] == [[0], [1], [2]]


def test_graphs_and_slices_suit_the_device():
    cpu, gpu = (Run(Rng.of(0), device=torch.device(kind)) for kind in ("cpu", "cuda"))
    each = torch.get_num_threads()
    assert [cpu.slice_size(n) for n in (2560, 7)] == [even_size(2560, SLICE["cpu"] * each), 7] and gpu.slice_size(
        5120
    ) == 2560
    images = GRAPH["cpu"] * each  # a class
    assert [len(list(run.chunks(range(10), images))) for run in (cpu, gpu)] == [10, -(-10 // (GRAPH["cuda"] // images))]


def test_importing_attar_imports_no_compiler():
    code = "import sys, attar.condensation; print('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_compiling_is_for_long_work():
    minute = int(60 * eager_flops(CPU))
    assert not worth_compiling(minute - 1, CPU)
    calm = Run(Rng.of(0))
    function = lambda w, x: x  # noqa: E731
    assert calm.engine(function, 1) is function and calm.engines == {"eager": 1}


def test_without_a_compiler_everything_runs_eagerly_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr("shutil.which", lambda name: None)
    function = lambda w, x: x  # noqa: E731
    assert all(Run(Rng.of(0)).engine(function, 10**18) is function for _ in range(2))
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "no C++ compiler (g++ or clang++) on this machine"
    ]
    with pytest.raises(ValueError, match="compiling needs a C"):
        Run(Rng.of(0), compile="on").engine(function, 0)


@pytest.mark.parametrize(
    "method", [DM(updates=4, batch_real=140), M3D(updates=4, batch_real=6, ipm=2, factor=1)], ids=["dm", "m3d"]
)
def test_nothing_recompiles_in_a_run(method, task, unchecked):
    """Every graph is there after the first update: new weights, batches and augmentations need none of their own."""
    graphs = []
    count = torch._dynamo.utils.counters["stats"]
    method(task, 1, Run(Rng.of(0), compile="on", progress=lambda *_: graphs.append(count["unique_graphs"])))
    assert graphs[0] > 0 and len(set(graphs)) == 1


def test_one_process_can_compile_for_many_runs(unchecked):
    """More than the compiler's limit for variants of one function."""
    run, x = Run(Rng.of(0), compile="on"), torch.randn(2, 1, 4, 4)
    for i in range(10):
        family = network("mlp", (1, 4, 4), 2)
        w = family.init(Rng.of(i))
        engine = run.engine(lambda w, x, family=family: family.logits(w, x)[0], 0)
        torch.testing.assert_close(engine(w, x), family.logits(w, x)[0])


def test_nothing_compiles_twice_for_new_weights(unchecked):
    family = network("mlp", (1, 4, 4), 2)
    engine, x = Run(Rng.of(0), compile="on").engine(lambda w, x: family.logits(w, x)[0], 0), torch.randn(2, 1, 4, 4)
    weights = [family.init(Rng.of(i)) for i in range(3)]
    first = engine(weights[0], x)
    with torch.compiler.set_stance("fail_on_recompile"):
        scores = [engine(w, x) for w in weights]
    assert torch.equal(scores[0], first) and not torch.equal(scores[1], scores[2])


def test_low_precision_stays_inside():
    family = network("convnet", (1, 8, 8), 2)
    w, x = family.init(Rng.of(0)), torch.randn(4, 1, 8, 8)
    low = Run(Rng.of(0), precision="bf16").engine(family.features, 0)(w, x)
    exact = family.features(w, x)
    assert low.dtype == torch.float32 and not torch.equal(low, exact)
    assert torch.nn.functional.cosine_similarity(low.flatten(), exact.flatten(), 0) > 0.999
    scores, _ = Run(Rng.of(0), precision="bf16").engine(family.logits, 0)(w, x)
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("discrepancy", ["mean", "gaussian", "characteristic"])
def test_bf16_turns_pixel_gradients_by_a_few_per_cent(discrepancy, trained, task):
    """The bound of docs/numbers.md."""
    assert 0 < turned("bf16", discrepancy, trained, task) < 0.1


def turned(precision, discrepancy, trained, task):
    """How far the gradient of the pixels is from that of fp32, in parts of its length."""
    w, slopes = pretrain(task, Run(Rng.of(0), device=task.device), 1, 5)[0][trained], []
    x, r = (task.sample(range(3), n, Rng.of(n)) for n in (4, 20))
    for kind in ("fp32", precision):
        engine = Run(Rng.of(0), device=task.device, precision=kind).engine(task.network.features, 0)
        images = x.clone().requires_grad_()
        with use_precision(unless=kind == "tf32"):
            synthetic, real = (engine(w, batch.flatten(0, 1)).unflatten(0, batch.shape[:2]) for batch in (images, r))
            DISCREPANCIES[discrepancy](synthetic, real.detach(), Rng.of(3)).sum().backward()
        slopes.append(images.grad)
    return (slopes[1] - slopes[0]).norm() / slopes[0].norm()


def test_default_precision_is_what_the_hardware_has():
    assert default_precision(CPU) in ("fp32", "bf16")


@pytest.mark.parametrize(
    "rows, taken", [(range(2, 5), slice(2, 5)), ((3,), slice(3, 4)), ((1, 3), [1, 3]), ((2, 1), [2, 1])]
)
def test_rows_that_follow_one_another_are_a_slice(rows, taken):
    assert at_rows(rows) == taken and torch.equal(torch.arange(9)[at_rows(rows)], torch.tensor(list(rows)))


def test_slices_have_one_shape_and_lose_nothing():
    shapes = []

    def double(part):
        shapes.append(len(part))
        return 2 * part

    x = torch.randn(10, 3)
    assert torch.equal(map_slices(double, x, 4), 2 * x) and shapes == [4, 4, 4]
    shapes.clear()
    assert torch.equal(map_slices(double, x, 16), 2 * x) and shapes == [10]


@pytest.mark.parametrize("n, slice", [(2560, 256), (640, 214), (320, 160), (256, 256), (7, 7)])
def test_even_slices_waste_next_to_nothing(n, slice):
    assert even_size(n, 256) == slice and -(-n // slice) * slice < n + slice // 50 + 1
