"""Runs that are ended from outside, in processes of their own: `kill -9` and Ctrl-C."""

import json
import signal

import pytest
import torch
from typed import attar_command, enter, interrupted, lines, process, shorten_quick, wait_for

import attar
from attar.files import read_tensors
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import read_metrics


def test_killed_at_any_moment_it_goes_on_to_the_same_bits(tmp_path):
    """A real `kill -9`, twice, against a run that nobody disturbed."""
    words = ["--set", "updates=90", "--set", "batch_real=16", "--device", "cpu", "--precision", "fp32"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    undisturbed = process(whole, *words)
    undisturbed.communicate(timeout=120)
    for _ in range(2):
        had = lines(parts / "metrics.jsonl")
        victim = process(parts, *words, *(["--resume"] if parts.exists() else []))
        wait_for(lambda had=had: lines(parts / "metrics.jsonl") >= had + 15 and (parts / CHECKPOINT).exists())
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        assert 0 < read_tensors(parts / CHECKPOINT)[1]["done"] < 90
        with pytest.raises(ValueError, match="unfinished run"):
            attar.load(parts)
    last = process(parts, *words, "--resume")
    last.communicate(timeout=120)
    assert undisturbed.returncode == last.returncode == 0
    a, b = attar.load(whole), attar.load(parts)
    assert torch.equal(a.images, b.images)
    journals = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (whole, parts)]
    losses = [[json.loads(line)["loss"] for line in journal] for journal in journals]
    assert losses[0] == losses[1] and len(losses[0]) == 90
    seconds = [entry["seconds"] for entry in read_metrics(parts)]
    assert seconds == sorted(seconds) and b.provenance["seconds"] >= seconds[-1]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(sent, tmp_path):
    eagerly = ["--network", "mlp", "--compile", "off"]  # so many updates would be compiled first
    running = process(tmp_path / "run", "--set", "updates=100000", "--set", "batch_real=16", *eagerly)
    wait_for(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 20)
    running.send_signal(sent)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "go on with:\n  attar condense digits" in err and "Traceback" not in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_ctrl_c_in_an_evaluation_says_what_is_kept_and_how_to_go_on(tmp_path, monkeypatch, capsys):
    enter(tmp_path, monkeypatch)
    shorten_quick(monkeypatch)
    words = ["evaluate", "a", "--protocol", "quick", "--seeds", "2", "--network", "mlp"]
    condense = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "a", "--network", "mlp"]
    assert attar_command(monkeypatch, *condense) == 0
    interrupted(monkeypatch, *words, at=25)  # in the second network
    told = "interrupted, every network that is trained is kept; go on with:\n  attar " + " ".join(words)
    assert told in capsys.readouterr().err
    assert [row["seed"] for row in json.loads((tmp_path / "a" / "rows.json").read_text())["rows"]] == [0]
    assert attar_command(monkeypatch, *words) == 0
    assert [row["seed"] for row in json.loads((tmp_path / "a" / "rows.json").read_text())["rows"]] == [0, 1]
