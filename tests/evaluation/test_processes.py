"""Networks trained in processes of their own: the same accuracies, and an end that is told."""

import dataclasses
import os
import signal
import time

import pytest
import torch

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=8)
CPU = {"device": "cpu", "precision": "fp32"}


def apart(monkeypatch):
    """From here on networks are trained in two processes."""
    monkeypatch.setattr("attar.evaluation.processes.WORTH_PROCESSES", 0)
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
