"""Commands on terminals of every kind: what was made is kept, and the end is one sentence."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typed import attar_command, enter, shorten_quick

from attar.cli.terminal import say

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)

QUICK = (
    "import dataclasses, sys; from attar.training.protocol import PROTOCOLS as P; "
    "P['quick'] = dataclasses.replace(P['quick'], steps=20); from attar.cli.main import main; main()"
)
EVALUATE = ["evaluate", "a", "--protocol", "quick", "--seeds", "1"]
COMPARE = ["compare", "digits", "--methods", "random", "--ipc", "1", *EVALUATE[2:], "--network", "mlp", "--out", "a"]


def typed(words, shell="", **options) -> subprocess.CompletedProcess:
    """The command in a process of its own, its streams as `shell` redirects them."""
    line = ["bash", "-c", f'exec "$@" {shell}', "-", sys.executable, "-c", QUICK, *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    "words", [EVALUATE, pytest.param(COMPARE, marks=pytest.mark.slow)], ids=["evaluate", "compare"]
)
@pytest.mark.parametrize(
    ("shell", "encoding", "code"),
    [
        ("", "ascii", 0),
        ("> /dev/full", "utf-8", 2),
        pytest.param(">&-", "utf-8", 0, marks=pytest.mark.slow),
        pytest.param(">&- 2>&- <&-", "utf-8", 0, marks=pytest.mark.slow),
    ],
    ids=["ascii", "full", "closed", "all closed"],
)
def test_what_cannot_be_printed_is_kept(words, shell, encoding, code, here, monkeypatch):
    if words is EVALUATE:
        condense = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "a", "--network", "mlp"]
        assert attar_command(monkeypatch, *condense) == 0
    done = typed(words, shell, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == code and "Traceback" not in done.stderr
    assert len(json.loads((here / "a" / "rows.json").read_text(encoding="utf-8"))["rows"]) == 1
    assert words is EVALUATE or (here / "a" / "report.html").exists()


def test_a_line_that_nobody_takes_stops_nothing(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    say("on the way")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("the\nreason"), "stopped by an error inside Attar, RuntimeError: the; the traceback is in "),
        (KeyError("x"), "stopped by an error inside Attar, KeyError: 'x'; the traceback is in "),
        (RecursionError(), "stopped by an error inside Attar, RecursionError: ; the traceback is in "),
        (MemoryError(), "the memory of this machine is not enough (MemoryError: ): "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "the memory of this machine is not enough ("),
        (torch.OutOfMemoryError("CUDA out of memory."), "the memory of the GPU is not enough (OutOfMemoryError: CUDA "),
    ],
)
def test_any_end_is_one_sentence(error, sentence, here, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("attar.runs.condense.condense", fail)
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--out", "a") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"attar: {sentence}")
    if "all about it" in sentence:
        log = Path(line.rpartition(" ")[2])
        assert log.parent == here and "Traceback" in log.read_text(encoding="utf-8")


def test_the_lines_themselves_where_no_log_can_be_written(here, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", "nowhere")
    monkeypatch.setattr("attar.runs.condense.condense", lambda *_, **__: 1 / 0)
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--out", "a") == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback") and told.endswith("the traceback is in the lines above\n")


def test_the_callers_handler_is_set_again(here, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    assert attar_command(monkeypatch, "list", "networks") == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_who_asks_learns_the_version(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"attar {version('attar')}\n"
