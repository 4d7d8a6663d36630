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


BROKEN = [
    b"{", b"5", b"[]", b"\xff", b"\0" * 40, b"", b"[" * 5000, b'{"a": 1}', b'{"update": 2, "loss": 0.5}',
    b'{"update": "3", "loss": 0.5, "seconds": 1}', b'{"update": 3, "loss": NaN, "seconds": 1}',
    b'{"update": 3, "loss": 0.5, "seconds": null}', b'{"update": true, "loss": 0.5, "seconds": 1}',
    b'{"update": 2, "loss": 0.5, "seconds": 1}',
]  # fmt: skip


@pytest.mark.parametrize("line", BROKEN)
def test_a_damaged_log_is_cut_at_the_damage_and_stops_no_run(line, tmp_path, caplog):
    descend(Run(Rng.of(0), tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        descend(Run(Rng.of(0), tmp_path, progress=interrupt(5)))
    path = tmp_path / METRICS
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[4:], b""]))
    assert [entry["update"] for entry in read_metrics(tmp_path)] == [0, 1, 2]
    assert "metrics.jsonl is damaged after 3 lines: what follows is left out" in caplog.text
    descend(Run(Rng.of(0), tmp_path))
    entries, whole = read_metrics(tmp_path), read_metrics(tmp_path / "whole")
    assert entries[-1]["update"] == 9 and entries[-1]["loss"] == whole[-1]["loss"]
    caplog.clear()
    assert [entry["update"] for entry in read_metrics(tmp_path)] == [0, 1, 2, *range(3, 10)] and not caplog.text


def test_what_the_checkpoint_does_not_hold_is_dropped(tmp_path):
    lines = [json.dumps({"update": i, "loss": 0.5, "seconds": 1.0 + i}) + "\n" for i in range(5)]
    (tmp_path / METRICS).write_text("".join(lines))
    journal = Journal(Run(Rng.of(0), tmp_path))
    journal.keep(3)
    assert [entry["update"] for entry in read_metrics(tmp_path)] == [0, 1, 2]
    journal.add(3, torch.tensor(2.0))
    assert journal.last == 2.0 and read_metrics(tmp_path)[-1]["seconds"] >= 3
