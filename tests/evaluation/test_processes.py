"""Networks trained in processes of their own: the same accuracies, and an end that is told."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


SLOW = """
import os, sys, time, torch
from conftest import toy
import attar
from attar.condensed.condensed_set import CondensedSet
from attar.evaluation import processes

def endless(job, ticker):
    open(os.path.join(sys.path[0], f"worker-{os.getpid()}"), "w").close()
    time.sleep(600)

if __name__ == "__main__":
    processes.WORTH_PROCESSES, processes.train_and_test = 0, endless
    torch.get_num_threads = lambda: 2
    attar.evaluate(CondensedSet.whole(toy()), toy(), protocol="quick", seeds=2, device="cpu")
"""


def is_alive(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_an_evaluation_that_is_killed(end, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    tests = str(Path(__file__).parents[1])
    running = subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": tests, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 90
    while len(list(tmp_path.glob("worker-*"))) < 2:
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.1)
    running.send_signal(end)
    running.wait()
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]
    until = time.monotonic() + 20
    while any(map(is_alive, workers)):
        assert time.monotonic() < until, "a worker lives on"
        time.sleep(0.1)
