import json

import pytest
import torch
from test_loop import descend, interrupt

from attar.engine.run import Run
from attar.files import read_tensors
from attar.rng import Rng
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import METRICS, Journal, read_metrics


def test_a_loss_that_is_not_finite_is_named_and_never_saved(tmp_path):
    def breaking(syn, rng):
        yield [syn.x.square().sum()]
        yield [syn.x.sum() * (float("inf") if rng.path[-1] == 2 else 1.0)]

    with pytest.raises(ValueError, match=r"the loss became -?inf at update 5: lower the step size"):
        descend(Run(Rng.of(0), tmp_path), episode=breaking)
    tensors, meta = read_tensors(tmp_path / CHECKPOINT)
    assert meta["done"] == 4 and all(t.isfinite().all() for t in tensors.values())
    assert [entry["update"] for entry in read_metrics(tmp_path)] == [0, 1, 2, 3, 4]


def test_every_update_is_told_once_and_pauses_are_left_out(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("attar.synthesis.journal.time.perf_counter", lambda: float(next(clock)))
    seen = []
    descend(Run(Rng.of(0), tmp_path / "whole", progress=lambda done, total, loss: seen.append((done, total, loss))))
    whole = read_metrics(tmp_path / "whole")
    assert [(entry["update"] + 1, 10, entry["loss"]) for entry in whole] == seen
    with pytest.raises(KeyboardInterrupt):
        descend(Run(Rng.of(0), tmp_path / "parts", progress=interrupt(5)))
    for _ in range(1000):
        next(clock)
    descend(Run(Rng.of(0), tmp_path / "parts"))
    parts = read_metrics(tmp_path / "parts")
    assert [entry["loss"] for entry in parts] == [entry["loss"] for entry in whole]
    seconds = [entry["seconds"] for entry in parts]
    assert seconds == sorted(seconds) and seconds[-1] < 100


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    descend(Run(Rng.of(0), tmp_path))
    path = tmp_path / METRICS
    path.write_text(path.read_text()[:-5])
    assert [entry["update"] for entry in read_metrics(tmp_path)] == list(range(9))
    assert read_metrics(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(("text", "told"), [("{\n", "damaged: not JSON"), ('{"a": 1}\n', "was not written by attar")])
def test_other_files_are_told_from_ours(text, told, tmp_path):
    (tmp_path / METRICS).write_text(text)
    with pytest.raises(ValueError, match=told):
        read_metrics(tmp_path)


def test_what_the_checkpoint_does_not_hold_is_dropped(tmp_path):
    lines = [json.dumps({"update": i, "loss": 0.5, "seconds": 1.0 + i}) + "\n" for i in range(5)]
    (tmp_path / METRICS).write_text("".join(lines))
    journal = Journal(Run(Rng.of(0), tmp_path))
    journal.keep(3)
    assert [entry["update"] for entry in read_metrics(tmp_path)] == [0, 1, 2]
    journal.add(3, torch.tensor(2.0))
    assert journal.last == 2.0 and read_metrics(tmp_path)[-1]["seconds"] >= 3
