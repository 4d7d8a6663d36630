"""What is trained first is made in pieces: killed, failed or shared, nothing is lost and nothing done twice."""

import dataclasses
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from conftest import narrow, toy
from watched import Watched, processes

from attar.cli.status import tell
from attar.engine.device import use_threads
from attar.engine.ledger import read_ledger
from attar.engine.pieces import PiecesFailed, ProcessKilled
from attar.engine.run import Run
from attar.files import cache_folder, read_tensors
from attar.networks.network import Network
from attar.rng import Rng
from attar.training import stages, trajectories
from attar.training.pretrained import pretrain, pretrain_early, pretraining_left
from attar.training.trajectories import Experts


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small():
    return narrow(toy(name="toy"))


@pytest.fixture
def apart(monkeypatch):
    """Pieces are done in two processes."""
    monkeypatch.setattr("attar.engine.pieces.count_processes", lambda left, device: min(2, len(left)))


def run(progress=lambda *_: None) -> Run:
    return Run(Rng.of(0), progress=progress)


def written(folder: Path) -> dict[str, int]:
    """When each file was."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def test_a_killed_process_costs_what_it_was_at_and_bits_are_those_of_one_process(home, small, apart, monkeypatch):
    told, experts = home.with_name("told"), Experts(4, 2)
    network = Network(Watched(small.shape, len(small.classes), 2, told, 1.0))
    task = dataclasses.replace(small, network=network)

    killed = []

    def kill(*_):
        if written(home / "experts") and not killed:
            killed.append(True)
            os.kill(processes(told)[-1], signal.SIGKILL)

    with pytest.raises(ProcessKilled, match="one of 2 processes that make experts was killed"):
        experts.load(task, run(kill))
    kept, totals = written(home / "experts"), set()
    assert 1 <= len(kept) <= 3 and experts.stage(task, run()).missing == 4 - len(kept)
    assert len({*processes(told)}) == 2 and len(processes(told)) <= len(kept) + 2
    monkeypatch.undo()
    monkeypatch.setenv("ATTAR_CACHE", str(home))
    found = experts.load(task, run(lambda done, total, _: totals.add(total)))
    assert totals == {2 * (4 - len(kept))} and kept.items() <= written(home / "experts").items()
    assert [entry.state for entry in read_ledger(home / "experts").values()] == ["done"] * 4
    monkeypatch.setenv("ATTAR_CACHE", str(home.with_name("other")))
    assert all(map(torch.equal, found, experts.load(task, run())))


def test_an_expert_that_fails_is_named_and_the_others_are_kept(home, small, monkeypatch):
    train, calls = trajectories.train, []

    def fail(*given, **options):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("the loss is no number")
        return train(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trajectories, "train", fail)
        told = "1 of 3 experts failed, the others are kept: ConvNet on toy, epochs: 1, seed 1 (the loss is no number)"
        with pytest.raises(PiecesFailed, match=re.escape(told)):
            Experts(3, 1).load(small, run())
    done, failed = tell(home / "experts")
    assert done.startswith("done: 2 of 3 pieces in ")
    assert failed == "failed: ConvNet on toy, epochs: 1, seed 1: the loss is no number"
    kept = written(home / "experts")
    assert Experts(3, 1).stage(small, run()).missing == 1 and len(Experts(3, 1).load(small, run())) == 3
    assert kept.items() < written(home / "experts").items()


def test_several_are_trained_by_a_thread_each_and_one_alone_by_all(home, small, monkeypatch):
    first, train, seen = Experts(2, 1).load(small, run()), trajectories.train, []

    def watch(*given, **options):
        seen.append(torch.get_num_threads())
        return train(*given, **options)

    monkeypatch.setattr(trajectories, "train", watch)
    with use_threads(2):
        assert Experts(2, 1).stage(small, run()).missing == 0 and Experts(1, 1).stage(small, run()).missing == 1
        Experts(2, 1).load(small, reader := run())
        monkeypatch.setenv("ATTAR_CACHE", str(home.with_name("other")))
        again = Experts(2, 1).load(small, run())
        Experts(1, 1).load(small, run())
        assert torch.get_num_threads() == 2
    assert seen == [1, 1, 2] and all(map(torch.equal, first, again))
    took = [read_tensors(path)[1]["seconds"] for path in home.glob("experts/*.safetensors")]
    assert sum(reader.ledger.cached_seconds) == pytest.approx(sum(took) / 2)  # as two processes take


def test_what_was_kept_before_is_found(small):
    data, engine = (small.fingerprint, *small.normalisation.identity, small.flip), ("cpu", "fp32", False, 1)
    key, version = small.network.key, torch.__version__
    _, expert = Experts(2, 3).gather(small, run()).wanted
    assert expert.files == (repr((1, data, engine, version, key, (3, None, 0.01, 256), 1)),)


def test_networks_of_any_age_are_one_training(home, small):
    pretrain(small, run(), 2, 2)
    ends = "('pretrained', 1))"  # and those of other ages with the age
    (end,) = [path for path in home.glob("stages/*.safetensors") if read_tensors(path)[1]["what"].endswith(ends)]
    end.unlink()
    kept = written(home / "stages")
    assert pretraining_left(small, run(), 2, 2).missing == 1
    assert len(pretrain_early(small, run(), 2, 2)) == 2 and written(home / "stages") == kept
    pretrain(small, run(), 2, 2)
    assert end.exists() and len(read_ledger(home / "stages")) == 2


def test_networks_without_a_key_pass(home, small):
    task = dataclasses.replace(small, network=Network(lambda: small.network.build()))
    first, second = (pretrain(task, run(), 2, 1) for _ in range(2))
    for (_, one), (_, same) in zip(first, second, strict=True):
        assert all(torch.equal(one.params[name], same.params[name]) for name in one.params)
    assert not (home / "stages").exists() and pretraining_left(task, run(), 2, 1).missing == 2


def test_what_cannot_be_kept_as_it_is_written_is_trained_for_this_run_alone(home, small, monkeypatch, caplog):
    write = stages.write_tensors

    def fill(path, *given):
        if path.is_relative_to(cache_folder()):
            raise OSError("No space left on device")
        write(path, *given)

    monkeypatch.setattr(stages, "write_tensors", fill)
    assert len(Experts(2, 1).load(small, run())) == 2
    assert caplog.text.count("cannot be kept for other runs") == 1 and not written(home / "experts")
