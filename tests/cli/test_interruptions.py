"""Runs that are ended from outside, in processes of their own: `kill -9` and Ctrl-C."""

import json
import signal

import pytest
import torch
from typed import lines, process, wait_for

import attar
from attar.files import read_tensors
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.journal import read_metrics


@pytest.mark.slow
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


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    eagerly = ["--compile", "off"]  # so many updates would be compiled first
    running = process(tmp_path / "run", "--set", "updates=100000", "--set", "batch_real=16", *eagerly)
    wait_for(lambda: lines(tmp_path / "run" / "metrics.jsonl") >= 20)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "go on with:\n  attar condense digits" in err and "Traceback" not in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
