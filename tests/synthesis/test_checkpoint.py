import pytest
import torch
from test_loop import Point, descend, noisy

from attar.engine.run import Run
from attar.files import read_tensors, write_tensors
from attar.rng import Rng
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.loop import optimise


def test_checkpoints_come_by_time_and_between_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr("attar.synthesis.loop.CHECKPOINT_EVERY", 0.0)
    seen = []

    def look(done, total, loss):
        if (tmp_path / CHECKPOINT).exists():
            seen.append((done, read_tensors(tmp_path / CHECKPOINT)[1]["done"]))

    descend(Run(Rng.of(0), tmp_path, progress=look))
    assert seen == [(4, 3), (5, 3), (6, 3), (7, 6), (8, 6), (9, 6), (10, 9)]


def test_a_gradient_that_is_not_finite_is_named_and_never_saved(tmp_path):
    def root(syn, rng):
        yield [(syn.x - syn.x.detach()).abs().sqrt().sum()]  # 0, with an infinite derivative

    with pytest.raises(ValueError, match=r"syn.x became non-finite by update 1"):
        descend(Run(Rng.of(0), tmp_path), episode=root)
    assert read_tensors(tmp_path / CHECKPOINT)[1]["done"] == 0


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    descend(Run(Rng.of(0), tmp_path))
    syn = Point(1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="belongs to another run"):
        optimise(noisy, syn, torch.optim.SGD(syn.parameters(), lr=0.1), updates=3, run=Run(Rng.of(0), tmp_path))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    write_tensors(tmp_path / CHECKPOINT, {"learned.syn.x": torch.zeros(2)}, {"done": 3})
    with pytest.raises(ValueError, match="is no checkpoint"):
        descend(Run(Rng.of(0), tmp_path))


def test_what_an_optimiser_keeps_besides_tensors_is_kept_too(tmp_path):
    """Here one that counts its steps in a plain number."""

    class Counting(torch.optim.SGD):
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["steps"] = self.state[p].get("steps", 0) + 1
            super().step()

    def go(updates):
        syn = Point(1.0, -2.0)
        opt = Counting(syn.parameters(), lr=0.1, momentum=0.9)
        optimise(noisy, syn, opt, updates=updates, run=Run(Rng.of(0), tmp_path))
        return opt.state[syn.x]["steps"]

    assert [go(3), go(9)] == [3, 9]
