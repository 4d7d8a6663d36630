"""Networks trained in processes of their own, or one after the other: the same accuracies."""

import dataclasses
import errno

import pytest
import torch

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.engine.device import say_once
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=8)
CPU = {"device": "cpu", "precision": "fp32"}


def apart(monkeypatch):
    """From here on networks are trained in two processes."""
    monkeypatch.setattr("attar.engine.pieces.WORTH_PROCESSES", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def test_processes_and_this_process_agree(task, monkeypatch):
    made, ticks = CondensedSet.whole(task), []
    here = attar.evaluate(made, task, protocol=QUICK, seeds=2, **CPU)
    apart(monkeypatch)
    there = attar.evaluate(
        made, task, protocol=QUICK, seeds=2, progress=lambda done, total, _: ticks.append((done, total)), **CPU
    )
    assert [row.accuracy for row in here] == [row.accuracy for row in there]
    assert all(total == 16 for _, total in ticks)


def refuse(*_, **__):
    raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize("seam", ["loky.ProcessPoolExecutor", "loky.backend.process.LokyProcess.start"])
def test_without_processes_networks_are_trained_one_after_the_other(seam, task, monkeypatch, caplog):
    made = CondensedSet.whole(task)
    here = attar.evaluate(made, task, protocol=QUICK, seeds=2, **CPU)
    apart(monkeypatch)
    monkeypatch.setattr(seam, refuse)
    say_once.cache_clear()
    there = attar.evaluate(made, task, protocol=QUICK, seeds=2, **CPU)
    assert [row.per_class for row in here] == [row.per_class for row in there]
    assert caplog.text.count("no processes can be started (") == 1
