import dataclasses

import pytest
import torch

from attar.engine.run import GRAPH, SLICE, Run
from attar.engine.slices import even_size
from attar.methods.distribution.dm import DM
from attar.methods.distribution.m3d import M3D
from attar.networks.by_name import make_network
from attar.rng import Rng


def same(x):
    return x


def test_chunks_and_shards():
    run = Run(Rng.of(0), chunk=7)
    assert [list(c) for c in run.chunks(range(7), 2)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(c) for c in run.chunks(range(10), 1)] == [5, 5]  # equal groups: one shape to compile
    assert [list(c) for c in run.chunks(range(3), 8)] == [[0], [1], [2]]
    assert run.shard(3) == (0, 1, 2) and Run(Rng.of(0), classes=(2, 0)).shard(3) == (2, 0)


def test_without_graphs_chunks_are_eight_times_as_large():
    run = Run(Rng.of(0), chunk=2)
    assert [len(c) for c in run.chunks(range(32), 1)] == [2] * 16
    assert [len(c) for c in run.chunks(range(32), 1, graphs=False)] == [16, 16]


def test_graphs_and_slices_suit_the_device():
    cpu, gpu = (Run(Rng.of(0), device=torch.device(kind)) for kind in ("cpu", "cuda"))
    each = torch.get_num_threads()
    assert [cpu.slice_size(n) for n in (2560, 7)] == [even_size(2560, SLICE["cpu"] * each), 7]
    assert gpu.slice_size(5120) == 2560
    images = GRAPH["cpu"] * each  # a class
    assert [len(list(run.chunks(range(10), images))) for run in (cpu, gpu)] == [10, -(-10 // (GRAPH["cuda"] // images))]


def test_a_function_is_prepared_once_for_each_way_to_run_it(monkeypatch):
    made = []

    def compile_whole(function, fall):
        made.append(function)
        return lambda: function

    monkeypatch.setattr("attar.engine.run.compile_whole", compile_whole)
    run, function = Run(Rng.of(0)), lambda: 1
    prepared = [run.engine(function, flop) for flop in (7, 10**18, 10**18, 0)]
    assert prepared[0] is prepared[3] is function and prepared[1] is prepared[2] is not function
    assert made == [function] and run.ledger.flop == {"eager": 7, "compiled": 2 * 10**18}


def test_what_was_announced_decides_for_who_knows_less(monkeypatch):
    monkeypatch.setattr("attar.engine.run.compile_whole", lambda function, fall: lambda: function)
    run, function = Run(Rng.of(0)), lambda: 1
    assert run.announced(function, 7) is function
    run.announce(function, 10**18)
    assert run.announced(function, 7) is run.engine(function, 10**18) is not function


def test_a_run_that_is_replaced_by_one_of_another_precision_prepares_anew():
    run, family = Run(Rng.of(0)), make_network("mlp", (1, 4, 4), 2)
    low = dataclasses.replace(run, precision="bf16")
    assert run.engine(family.features, 0) is not low.engine(family.features, 0)


def test_a_networks_function_has_one_engine():
    run, family = Run(Rng.of(0), precision="bf16"), make_network("mlp", (1, 4, 4), 2)
    assert run.engine(family.features, 0) is run.engine(family.features, 0) is not run.engine(family.scores, 0)


def test_a_rehearsal_compiles_nothing():
    rehearsal = Run(Rng.of(0), compile="on", rehearsal=True)
    assert rehearsal.engine(same, 10**18) is same and rehearsal.ledger.flop == {"eager": 10**18}
    assert rehearsal.fuse(same, 10**18) is same


def test_what_surrounds_networks_is_itself_on_a_cpu():
    assert Run(Rng.of(0), compile="on").fuse(same, 10**18) is same


def test_something_is_made_once_for_a_key():
    run, made = Run(Rng.of(0)), []
    assert [run.once("a", lambda: made.append(1) or len(made)) for _ in range(2)] == [1, 1]
    assert run.once("b", lambda: 5) == 5 and Run(Rng.of(0)).once("a", lambda: 7) == 7


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
        family = make_network("mlp", (1, 4, 4), 2)
        w = family.init(Rng.of(i))
        engine = run.engine(lambda w, x, family=family: family.logits(w, x)[0], 0)
        torch.testing.assert_close(engine(w, x), family.logits(w, x)[0])


def test_nothing_compiles_twice_for_new_weights(unchecked):
    family = make_network("mlp", (1, 4, 4), 2)
    engine, x = Run(Rng.of(0), compile="on").engine(lambda w, x: family.logits(w, x)[0], 0), torch.randn(2, 1, 4, 4)
    weights = [family.init(Rng.of(i)) for i in range(3)]
    first = engine(weights[0], x)
    with torch.compiler.set_stance("fail_on_recompile"):
        scores = [engine(w, x) for w in weights]
    assert torch.equal(scores[0], first) and not torch.equal(scores[1], scores[2])
