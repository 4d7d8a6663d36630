import dataclasses
import os
import signal
import time
from threading import Thread

import pytest
import torch
import torch.nn.functional as F
from conftest import toy

import attar
from attar.augment.dsa import Augment, apply
from attar.condensed.condensed_set import CondensedSet
from attar.engine.run import Run
from attar.evaluation.evaluate import variant
from attar.evaluation.rows import Row, read_rows, summarise, write_rows
from attar.files import lock_writer, write_json
from attar.networks.architectures import ConvNet
from attar.rng import Rng
from attar.training.fit import Batch, fit
from attar.training.protocol import PROTOCOLS, Protocol

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=8)
CPU = {"device": "cpu", "precision": "fp32"}


def test_lengths_and_drops_are_the_literatures():
    dc, dm, idc, quick = (PROTOCOLS[name] for name in ("dc", "dm", "idc", "quick"))
    assert (dc.epochs, dc.drops(301)) == (301, {152: 0.1})
    assert (dm.epochs, dm.drops(1001)) == (1001, {502: 0.1})
    assert (idc.epochs, idc.drops(1000), idc.batch, idc.cutmix) == (1000, {666: 0.2, 833: 0.2}, 64, 0.5)
    drops = [idc.drops(epochs) for epochs in (1, 2, 3, 10)]
    assert drops == [{}, {1: pytest.approx(0.04)}, {2: pytest.approx(0.04)}, {6: 0.2, 8: 0.2}]
    assert all((p.lr, p.momentum, p.weight_decay) == (0.01, 0.9, 5e-4) for p in (dc, dm, idc))
    assert quick.length(100) == 300 and quick.length(1437) == 50 and quick.updates(1437) == 300
    assert not dc.augment.names and dm.augment.style == "dsa" and idc.augment.style == "idc"


def literal(x, y, classes, epochs, batch, orders, weights):
    """The authors' loop, plainly: a module, an optimiser that is made anew at the drop, no augmentation."""
    net = ConvNet(tuple(x.shape[1:]), classes)
    net.load_state_dict(weights)
    lr = 0.01
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        for part in orders(epoch).split(batch):
            opt.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            opt.step()
        if epoch == (epochs - 1) // 2 + 1:
            lr *= 0.1
            opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    return net


def test_training_equals_the_literal_loop():
    task = toy()
    x, y = task.normalise(task.train.x), task.train.y
    protocol, rng = Protocol("short dc", "", 9, 32, "half"), Rng.of(4)
    start = {k: v.clone() for k, v in task.network.init(rng.fold("network")).params.items()}
    orders = lambda epoch: torch.randperm(len(x), generator=rng.fold("order", epoch).generator())  # noqa: E731
    net = literal(x, y, 3, 9, 32, orders, start)
    w = fit(task.network, x, y, protocol, rng, Run(rng))
    for name, value in net.state_dict().items():
        torch.testing.assert_close(w.params[name], value, rtol=1e-4, atol=1e-6)


def test_thirds_keep_the_momentum():
    task = toy()
    x, y = task.normalise(task.train.x), task.train.y
    protocol, rng = Protocol("short idc", "", 6, 32, "thirds"), Rng.of(4)
    w = fit(task.network, x, y, protocol, rng, Run(rng))
    net = ConvNet((1, 8, 8), 3)
    net.load_state_dict(task.network.init(rng.fold("network")).params)
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [4, 5], 0.2)
    for epoch in range(6):
        for part in torch.randperm(len(x), generator=rng.fold("order", epoch).generator()).split(32):
            opt.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            opt.step()
        schedule.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(w.params[name], value, rtol=1e-4, atol=1e-6)


def test_rows_are_complete_and_reproducible(task):
    made = CondensedSet.whole(task)
    rows = attar.evaluate([made, made], task, protocol=QUICK, seeds=[3, 5], **CPU)
    assert [row.seed for row in rows] == [3, 5, 3, 5]
    assert rows[0].accuracy == rows[2].accuracy and rows[0].per_class == rows[2].per_class
    assert rows[0].accuracy == pytest.approx(sum(rows[0].per_class) / 3)
    assert (rows[0].protocol, rows[0].epochs, rows[0].split, rows[0].network) == ("quick", 8, "test set", "ConvNet")


def test_a_task_may_be_judged_by_another_network(task):
    (row,) = attar.evaluate(CondensedSet.whole(task), task, protocol=QUICK, seeds=1, network="mlp", **CPU)
    assert row.network == "MLP" and task.network.name == "ConvNet"


def apart(monkeypatch):
    """From here on networks are trained in two processes."""
    monkeypatch.setattr("attar.evaluation.processes.WORTH_PROCESSES", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def test_processes_and_this_process_agree(task, monkeypatch):
    here = attar.evaluate(CondensedSet.whole(task), task, protocol=QUICK, seeds=2, **CPU)
    apart(monkeypatch)
    ticks = []
    there = attar.evaluate(
        CondensedSet.whole(task), task, protocol=QUICK, seeds=2, progress=lambda d, t, _: ticks.append((d, t)), **CPU
    )
    assert [row.accuracy for row in here] == [row.accuracy for row in there]
    assert all(total == 16 for _, total in ticks)


def killed(job, ticker):
    """As the system does it when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def failed(job, ticker):
    if job.seeds[0] == 0:
        time.sleep(600)
    raise ValueError("the second network failed")


@pytest.mark.parametrize(
    "end, error, sentence",
    [
        (killed, OSError, "lack of memory: OMP_NUM_THREADS=1 .* trains 1 at a time"),
        (failed, ValueError, "the second network failed"),
    ],
    ids=["killed", "failed"],
)
def test_a_process_that_ends_badly_ends_the_others(end, error, sentence, task, monkeypatch):
    apart(monkeypatch)
    monkeypatch.setattr("attar.evaluation.processes.train_and_test", end)
    start = time.monotonic()
    with pytest.raises(error, match=sentence):
        attar.evaluate(CondensedSet.whole(task), task, protocol=QUICK, seeds=2, **CPU)
    assert time.monotonic() - start < 120


@pytest.mark.parametrize("style, kinds", [("dsa", 1), ("dc", 3)])
def test_dc_gives_each_image_its_own_operation_and_dsa_one_to_the_batch(style, kinds):
    x = torch.zeros(60, 1, 9, 9)
    x[:, :, 2, 4] = 1
    protocol = Protocol("one step", "", 1, 60, "half", Augment("flip_scale_turn", style))
    (out,) = Batch.of(x[None], torch.zeros(1, 60, dtype=torch.long), protocol, protocol.augment, [Rng.of(0)]).shown(
        apply
    )
    flipped = (out == x).flatten(1).all(1)
    turned = (out[:, :, :, 4].sum((1, 2)) < 0.95) & ~flipped
    assert sum(bool(kind.any()) for kind in (flipped, turned, ~flipped & ~turned)) == kinds


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_learns_an_easy_task(name):
    task = toy(side=12, counts=(40, 40, 40))
    protocol = dataclasses.replace(PROTOCOLS[name], epochs=25)
    (row,) = attar.evaluate(CondensedSet.whole(task), task, protocol=protocol, seeds=1, **CPU)
    assert row.accuracy > 80


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cuda:99"}, "torch finds no device"),
        ({"precision": "fp64"}, "unknown precision 'fp64'"),
        ({"ipc": 1.5}, "whole number"),
    ],
)
def test_what_python_cannot_ask_for(options, told, task, unchecked):
    with pytest.raises(ValueError, match=told):
        attar.condense(task, "random", **{"ipc": 1, **options})
    if "ipc" not in options:
        with pytest.raises(ValueError, match=told):
            attar.evaluate(CondensedSet.whole(task), task, **options)


def test_refusals(task):
    made = CondensedSet.whole(task)
    with pytest.raises(ValueError, match="unknown protocol 'dn'"):
        attar.evaluate(made, task, protocol="dn")
    with pytest.raises(ValueError, match="at least one seed"):
        attar.evaluate(made, task, seeds=0)
    with pytest.raises(ValueError, match=r"classes a, b, c are not those of toy: a, b"):
        attar.evaluate(made, toy(counts=(9, 9)))
    with pytest.raises(ValueError, match=r"images are \(1, 8, 8\), those of toy \(3, 8, 8\)"):
        attar.evaluate(made, toy(3))


def row(**changes) -> Row:
    base = Row(
        "mnist",
        "m3d",
        1,
        0,
        "a",
        "dm",
        "ConvNet",
        0,
        90.0,
        (90.0, 90.0),
        1001,
        31_400,
        False,
        "bf16",
        "test set",
        100.0,
        5.0,
    )
    return dataclasses.replace(base, **changes)


def test_arithmetic_on_rows():
    rows = [
        row(),
        row(seed=1, accuracy=94.0),
        row(method="random", accuracy=60.0),
        row(method="random", draw=1, accuracy=70.0),
        row(ipc=10),
    ]
    m3d, random, other = summarise(rows)
    assert (m3d.mean, m3d.std) == (92.0, pytest.approx(8**0.5)) and m3d.gain == 27.0
    assert random.mean == 65.0 and other.gain is None
    assert m3d.cells()[4:6] == ("92.0 ± 2.8", "+27.0") and random.cells()[6] == "2 (2 draws)"
    assert m3d.cells()[7:] == ("31.4 kB", "1 min 40 s")


def test_sets_made_differently_are_never_averaged_and_nothing_counts_twice():
    assert [len(s.rows) for s in summarise([row(), row(), row(seed=1), row(variant="b"), row(precision="fp32")])] == [
        2,
        1,
        1,
    ]


def test_sets_differ_by_settings_network_data_and_precision(task):
    sets = [attar.condense(task, "random", 1, precision=precision) for precision in ("fp32", "bf16")]
    sets += [attar.condense(task, "random", 1, precision="fp32", network="mlp")]
    sets += [attar.condense(dataclasses.replace(toy(seed=1)), "random", 1, precision="fp32")]
    assert len({variant(made) for made in sets}) == 4
    assert variant(sets[0]) == variant(attar.condense(task, "random", 1, precision="fp32", seed=1))


def test_rows_written_meanwhile_are_kept(tmp_path):
    path = tmp_path / "rows.json"
    with lock_writer(path):
        writer = Thread(target=write_rows, args=(path, [row(seed=1)]))
        writer.start()
        writer.join(0.3)
        assert writer.is_alive() and not path.exists()
        write_json(path, [dataclasses.asdict(row())])
    writer.join(30)
    assert [r.seed for r in read_rows(path)] == [0, 1]


def test_rows_are_kept_and_replaced(tmp_path):
    path = tmp_path / "rows.json"
    write_rows(path, [row(), row(seed=1)])
    write_rows(path, [row(accuracy=91.0), row(protocol="idc")])
    assert [(r.protocol, r.seed, r.accuracy) for r in read_rows(path)] == [
        ("dm", 0, 91.0),
        ("dm", 1, 90.0),
        ("idc", 0, 90.0),
    ]
    path.write_text("[{}]")
    with pytest.raises(ValueError, match="does not hold rows"):
        read_rows(path)
