"""Networks trained on the whole set: made once, kept, and shared."""

import dataclasses
import os

import pytest
import torch
from conftest import toy
from faults import FAULTS, RAISED, count_steps, failing

from attar.engine.run import Run
from attar.files import cache_folder
from attar.networks.weights import TRAINING
from attar.rng import Rng
from attar.training.pretrained import (
    EARLY,
    Stage,
    draw_between,
    pretrain,
    pretrain_early,
    pretraining_left,
    pretraining_protocol,
    soft_labels,
    train_whole,
)


def same(a, b):
    return all(torch.equal(a.params[name], b.params[name]) for name in a.params)


def test_training_on_the_whole_set_is_done_once(task, monkeypatch):
    run = Run(Rng.of(11))
    first = train_whole(task, run, 1)

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("attar.training.pretrained.fit", never)
    for equal in (run, Run(Rng.of(11), compile="off")):  # as it is decided anyway
        assert same(first, train_whole(task, equal, 1))
    assert len(run.ledger.cached_seconds) == 1 and run.ledger.cached_seconds[0] > 0
    for other in (dataclasses.replace(toy(seed=1)), task.with_network("mlp")):
        with pytest.raises(AssertionError, match="trained again"):
            train_whole(other, run, 1)


def test_a_damaged_stage_is_made_anew_and_that_is_said(task, caplog):
    run, folder = Run(Rng.of(12)), cache_folder() / "stages"
    before = set(folder.glob("*.safetensors"))
    first = train_whole(task, run, 1)
    (path,) = set(folder.glob("*.safetensors")) - before
    whole = path.read_bytes()
    other = Run(Rng.of(14))
    second = train_whole(task, other, 1)
    (another,) = set(folder.glob("*.safetensors")) - before - {path}
    for damaged in (whole[:50], whole[:-1], whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:], another.read_bytes()):
        path.write_bytes(damaged)
        caplog.clear()
        assert same(first, train_whole(task, run, 1)) and not same(first, second)
        assert str(path) in caplog.text and "this network is trained anew" in caplog.text


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A cache of the test's own, and training that takes no time."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr("attar.training.pretrained.fit", lambda network, x, y, _, rng, *__, **___: network.init(rng))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    return tmp_path / "own" / "stages"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("earlier", ["none", "damaged"])
def test_keeping_a_network_may_fail_anywhere_and_nothing_is_left_of_it(fault, earlier, task, own_folder):
    run = Run(Rng.of(0))
    expected = train_whole(task, run, 1)
    (path,) = own_folder.glob("*.safetensors")

    def prepare():
        for file in own_folder.iterdir():
            file.unlink()
        if earlier == "damaged":
            path.write_bytes(b"nonsense")
            for name in (f".{path.name}.0a1b2c3d.part", ".tmpEOQQjH"):
                (own_folder / name).touch()

    prepare()
    for at in range(count_steps(lambda: train_whole(task, run, 1))):
        prepare()
        try:
            with failing(at, FAULTS[fault](at)) as steps:
                assert same(expected, train_whole(task, run, 1))
        except RAISED as error:  # a run needs no cache, but somewhere its data must lie
            assert not isinstance(error, OSError) or str(own_folder.parent) not in steps[at], steps[at]
        assert same(expected, train_whole(task, run, 1))
        train_whole(task, Run(Rng.of(1)), 1)  # whoever writes next sweeps
        left = {"".join(file.suffixes) for file in own_folder.iterdir()}
        assert left - {".steps.part"} == {".safetensors", ".json"}  # the first may count for who does the piece next
        assert len(list(own_folder.glob("*.safetensors"))) == 2


@pytest.mark.parametrize("blocked", ["file", "read-only"])
def test_a_cache_that_cannot_be_written_is_said_once_and_before_the_work(blocked, task, tmp_path, monkeypatch, caplog):
    access, told = os.access, []
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / blocked / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: blocked == "file" and access(path, mode))

    def train(network, x, y, protocol, rng, *_, **__):
        told.append(caplog.text)
        return network.init(rng)

    monkeypatch.setattr("attar.training.pretrained.fit", train)
    for seed in range(3):
        train_whole(task, Run(Rng.of(seed)), 1)
    assert "cannot be kept for other runs" in told[0] and "ATTAR_CACHE names another folder" in told[0]
    assert caplog.text.count("cannot be kept") == 1


def test_a_rehearsal_keeps_nothing(task):
    rehearsal, folder = Run(Rng.of(13), rehearsal=True), cache_folder() / "stages"
    before = set(folder.glob("*"))
    train_whole(task, rehearsal, 1)
    assert set(folder.glob("*")) == before


def test_pretrained_networks_are_shared_and_announced_once(caplog):
    task = toy(seed=5)  # other tests share networks of the usual one
    left = pretraining_left(task, Run(Rng.of(0)), 2, 1)
    first = pretrain(task, Run(Rng.of(0)), 2, 1)
    flop = TRAINING * len(task.train.y) * task.network.flop(task.shape)
    assert left == Stage(2, flop)
    assert f"networks to train first: 2, epochs each: 1 ({2 * flop / 1e12:.3g} TFLOP)" in caplog.text
    caplog.clear()
    assert pretraining_left(task, Run(Rng.of(9)), 3, 1) == Stage(1, flop)
    again = pretrain(task, Run(Rng.of(9)), 3, 1)
    assert "networks to train first: 1" in caplog.text
    for (a, b), (c, d) in zip(first, again, strict=False):
        assert same(a, c) and same(b, d) and not same(a, b)
    assert not same(first[0][0], first[1][0])


def test_pretraining_is_in_batches_of_256_with_cutmix():
    protocol = pretraining_protocol(toy(), 60)
    assert (protocol.epochs, protocol.batch, protocol.cutmix, protocol.augment.style) == (60, 256, 0.5, "idc")
    assert protocol.drops(60) == {40: 0.2, 50: 0.2}


def test_networks_between_the_start_and_the_end_of_their_training(exact):
    start, end = (exact.network.init(Rng.of(i)) for i in range(2))
    for name, p in start.between(end, 0.25).params.items():
        torch.testing.assert_close(p, 0.75 * start.params[name] + 0.25 * end.params[name])
    drawn = [draw_between([(start, start), (start, end)], Rng.of(i)) for i in range(40)]
    assert 8 < sum(trained is end for _, trained in drawn) < 32
    low, high = (w.params["head.bias"][0].item() for w in (start, end))
    shares = [(w.params["head.bias"][0].item() - low) / (high - low) for w, trained in drawn if trained is end]
    assert all(0 <= share <= 1 for share in shares) and max(shares) - min(shares) > 0.5


def test_soft_labels_are_the_mean_of_probabilities(task):
    networks, x = [task.network.init(Rng.of(i)) for i in range(3)], task.images(torch.arange(50))
    found = soft_labels(task, Run(Rng.of(0)), networks, x)
    expected = sum(task.network.scores(w, x).softmax(1) for w in networks) / 3
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_early_weights_are_those_on_the_way_and_are_kept_with_the_end(task, monkeypatch):
    run = Run(Rng.of(0))
    ends = pretrain(task, run, 2, 6)
    early = pretrain_early(task, Run(Rng.of(1)), 2, 6)  # found: the run's seed does not matter
    assert pretraining_left(task, run, 2, 6, EARLY).missing == pretraining_left(task, run, 2, 6).missing == 0
    # No step size drops before two thirds: a training of one epoch ends where a longer one passes by.
    assert all(same(young, end) for young, (_, end) in zip(early[::2], pretrain(task, run, 2, 1), strict=True))
    assert not any(same(one, other) for i, one in enumerate(early) for other in [*early[:i], *(w for w, _ in ends)])
    monkeypatch.setenv("ATTAR_CACHE", f"{cache_folder()}-other")
    anew, seconds = pretrain_early(task, other := Run(Rng.of(0)), 2, 6), other.ledger.cached_seconds
    assert all(map(same, early, anew)) and not seconds
    pretrain_early(task, other, 2, 6)
    assert len(seconds) == 2  # once for each network, however many of its ages are read


def test_a_short_training_has_the_early_weights_that_it_passes(task):
    assert len(pretrain_early(task, Run(Rng.of(0)), 1, 3)) == 1


def test_without_epochs_a_network_ends_where_it_begins(task):
    run = Run(Rng.of(0))
    (start, end), *_ = pretrain(task, run, 2, 0)
    assert same(start, end) and same(start, pretrain_early(task, run, 2, 0)[0])
    assert pretraining_left(task, run, 2, 0) == Stage(0, 0)
