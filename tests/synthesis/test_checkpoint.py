import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from test_loop import Point, descend, interrupt, noisy

from attar.condensed.store import REQUEST
from attar.engine.run import Run
from attar.files import read_tensors, write_tensors
from attar.rng import Rng
from attar.synthesis.checkpoint import CHECKPOINT, CHECKPOINTS, PREVIOUS
from attar.synthesis.journal import read_metrics
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


def stopped(folder, update=8, seed=0):
    """A run that was stopped after it wrote several checkpoints."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("attar.synthesis.loop.CHECKPOINT_EVERY", 0.0)
        patch.setattr("attar.synthesis.loop.BOUNDARY_EVERY", 0.0)
        descend(Run(Rng.of(seed), folder, progress=interrupt(update)))


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES = [lambda _: b"", lambda c: c[:-9], lambda c: flip(c, len(c) - 3), lambda c: flip(c, c.index(b"done") + 8)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_a_checkpoint_is_damaged_the_one_before_is_used(damage, tmp_path, caplog):
    whole = descend(Run(Rng.of(0))).x
    stopped(tmp_path)
    newest, previous = tmp_path / CHECKPOINT, tmp_path / PREVIOUS
    newest.write_bytes(damage(newest.read_bytes()))
    assert torch.equal(descend(Run(Rng.of(0), tmp_path)).x, whole)
    told = [record.message for record in caplog.records if record.name == "attar"]
    assert (
        len(told) == 1
        and f"{newest} is damaged" in told[0]
        and f"goes on from the checkpoint before, {previous}" in told[0]
    )


def test_a_kill_between_two_names_leaves_the_one_before(tmp_path):
    whole = descend(Run(Rng.of(0))).x
    stopped(tmp_path)
    (tmp_path / CHECKPOINT).unlink()
    assert torch.equal(descend(Run(Rng.of(0), tmp_path)).x, whole)
    assert read_metrics(tmp_path)[-1]["update"] == 9


def test_two_damaged_checkpoints_are_refused_and_stay(tmp_path):
    stopped(tmp_path)
    for name in CHECKPOINTS:
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=f"{PREVIOUS} is damaged"):
        descend(Run(Rng.of(0), tmp_path))
    assert all((tmp_path / name).read_bytes() == b"nonsense" for name in CHECKPOINTS)


@pytest.mark.parametrize("other", ["seed", "classes", "request"])
def test_a_run_goes_on_from_its_own_checkpoint_alone(other, tmp_path):
    (tmp_path / REQUEST).write_text('{"seed": 0}')
    stopped(tmp_path)
    run = Run(Rng.of(5 if other == "seed" else 0), tmp_path, classes=(0,) if other == "classes" else None)
    (tmp_path / REQUEST).write_text('{"seed": 5}' if other == "request" else '{"seed": 0}')
    with pytest.raises(ValueError, match=f"{CHECKPOINT} belongs to another run"):
        descend(run)


def test_a_checkpoint_without_hashes_goes_on(tmp_path):
    whole = descend(Run(Rng.of(0))).x
    stopped(tmp_path)
    tensors, meta = read_tensors(tmp_path / CHECKPOINT)
    del meta["request"]
    save_file(tensors, tmp_path / CHECKPOINT, {"attar": json.dumps(meta)})
    assert torch.equal(descend(Run(Rng.of(0), tmp_path)).x, whole)


def test_a_checkpoint_that_cannot_be_written_leaves_both_before(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device")

    stopped(tmp_path)
    left = {name: (tmp_path / name).read_bytes() for name in CHECKPOINTS}
    monkeypatch.setattr("attar.files.save_file", full)
    with pytest.raises(OSError, match=f"cannot write .*{CHECKPOINT}: No space left"):
        descend(Run(Rng.of(0), tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in CHECKPOINTS} == left


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
