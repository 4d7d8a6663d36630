"""Commands as a user types them, here or in a process of its own."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

from attar.cli import main as cli
from attar.training.protocol import PROTOCOLS

FAST = ["--method", "m3d", "--set", "updates=12", "--set", "batch_real=8", "--set", "ipm=2"]


def shorten_quick(monkeypatch) -> None:
    """The protocol `quick`, quicker."""
    monkeypatch.setitem(PROTOCOLS, "quick", dataclasses.replace(PROTOCOLS["quick"], steps=20))


def enter(tmp_path, monkeypatch) -> Path:
    """An empty folder, in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def attar_command(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["attar", *map(str, words)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def refused(monkeypatch, capsys, *words: str) -> str:
    """The one sentence of a command that exits 2."""
    assert attar_command(monkeypatch, *words) == 2
    out, err = capsys.readouterr()
    sentences = [line for line in err.splitlines() if line.startswith("attar: ")]
    assert len(sentences) == 1 and "Traceback" not in err and not out
    return sentences[0]


def interrupted(monkeypatch, *words: str, at: int = 7) -> None:
    """Ctrl-C after so many steps."""

    def stop(self, done, total, loss):
        if done == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("attar.cli.progress.Progress.__call__", stop)
        assert attar_command(patch, *words) == 130


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def process(folder, *words, **options):
    """`attar condense` in a process of its own, with a checkpoint every tenth of a second."""
    code = (
        "import signal; import attar.cli.main; import attar.synthesis.loop as loop; loop.CHECKPOINT_EVERY = 0.1; "
        # A shell's background jobs ignore Ctrl-C, and so do their children.
        "signal.signal(signal.SIGINT, signal.default_int_handler); attar.cli.main.main()"
    )
    typed = ["condense", "digits", "--method", "m3d", "--ipc", "1", "--out", str(folder), *words]
    command = [sys.executable, "-c", code, *typed]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def lines(path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
