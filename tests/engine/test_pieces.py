"""Pieces of work: whatever is killed, nothing is lost and nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import FAULTS, RAISED, count_steps, failing
from squares import said, square, squares

from attar.engine.ledger import LEDGER, drop_ledger, is_worked_on, read_ledger
from attar.engine.pieces import PiecesFailed, run_pieces

SQUARES = [i**2 for i in range(8)]


@pytest.fixture
def apart(monkeypatch):
    """Pieces are done in two processes."""
    monkeypatch.setattr("attar.engine.pieces.WORTH_PROCESSES", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def states(folder: Path) -> list[str]:
    return [entry.state for entry in read_ledger(folder).values()]


def check_each_done_once(folder: Path) -> None:
    """At most, as a kill may fall between the end of a piece and its word of it."""
    assert run_pieces(squares(folder)) == SQUARES
    done = [number for number, _ in said(folder / "done")]
    assert len(done) == len({*done}) >= 6
    assert states(folder) == ["done"] * 8


def test_what_is_complete_is_found_and_the_rest_is_done(tmp_path):
    assert run_pieces(squares(tmp_path, 3)) == SQUARES[:3]
    shown = []
    made = run_pieces(squares(tmp_path)[::-1], progress=lambda done, total, _: shown.append((done, total)))
    assert made == SQUARES[::-1] and shown[-1] == (20, 20) and sorted(shown) == shown
    assert [number for number, _ in said(tmp_path / "begun")] == [0, 1, 2, 7, 6, 5, 4, 3]
    assert all(entry.seconds is not None for entry in read_ledger(tmp_path).values())
    assert not list(tmp_path.glob(".*"))  # neither locks nor steps
    check_each_done_once(tmp_path)


def test_another_recipe_or_seed_is_another_piece(tmp_path):
    (piece,) = squares(tmp_path, 1)
    assert len({p.key for p in (piece, replace(piece, recipe="cube"), replace(piece, seed=1))}) == 3


def fail(path, number, seconds, tick):
    if number in (2, 5):
        raise ValueError(f"{number} has no square today")
    return square(path, number, seconds, tick)


def test_a_piece_that_fails_is_named_and_the_others_are_kept(tmp_path):
    told = r"2 of 8 squares failed, the others are kept: square of 2, seed 0 \(2 has no square today\); square of 5"
    with pytest.raises(PiecesFailed, match=told):
        run_pieces(squares(tmp_path, work=fail), called="squares")
    assert [i for i, entry in enumerate(read_ledger(tmp_path).values()) if entry.error] == [2, 5]
    assert run_pieces(squares(tmp_path)) == SQUARES
    assert [number for number, _ in said(tmp_path / "begun")] == [0, 1, 3, 4, 6, 7, 2, 5]
    check_each_done_once(tmp_path)


def break_down(path, number, seconds, tick):
    if number == 3:
        raise RuntimeError("an error of the program")
    return square(path, number, seconds, tick)


def test_what_is_no_failure_of_a_piece_ends_the_work(tmp_path):
    with pytest.raises(RuntimeError, match="an error of the program"):
        run_pieces(squares(tmp_path, work=break_down))
    assert states(tmp_path) == ["done"] * 3 + ["failed"] + ["planned"] * 4
    check_each_done_once(tmp_path)


def linger(path, number, seconds, tick):
    if number == 0:
        time.sleep(600)
    return (fail if number < 3 else break_down)(path, number, seconds, tick)


def test_processes_end_as_this_one_would(tmp_path, apart):
    """All of them at once, also one that would work on for long."""
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="an error of the program"):
        run_pieces(squares(tmp_path, work=linger))
    assert time.monotonic() - start < 120
    assert states(tmp_path)[:4] == ["planned", "done", "failed", "failed"]
    run_pieces(squares(tmp_path))
    assert states(tmp_path) == ["done"] * 8


@pytest.mark.parametrize("fault", FAULTS)
def test_failing_at_any_step_nothing_is_lost_and_nothing_done_twice(fault, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # no waiting for a disk
    steps = count_steps(lambda: run_pieces(squares(tmp_path / "count", 2)))
    for at in range(steps):
        folder = tmp_path / str(at)
        with suppress(*RAISED), failing(at, FAULTS[fault](at)):
            run_pieces(squares(folder, 2))
        assert run_pieces(squares(folder, 2)) == [0, 1]
        done = [number for number, _ in said(folder / "done")]
        assert len(done) == len({*done}) and states(folder) == ["done"] * 2


def run_command(folder: Path, processes: int, seconds: float) -> subprocess.Popen:
    tests = Path(__file__).parents[1]
    paths = [str(tests / "engine"), str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(tests / "engine" / "squares.py"), str(folder), str(processes), str(seconds)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_alive(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["command", "worker"])
def test_killed_at_any_moment_it_goes_on_where_it_was(victim, tmp_path):
    running = run_command(tmp_path, 2, 1.2)
    wait_for(lambda: len({process for _, process in said(tmp_path / "begun")}) == 2 or running.poll() is not None)
    time.sleep(random.uniform(0, 1.6))
    workers = {process for _, process in said(tmp_path / "begun")}
    os.kill(running.pid if victim == "command" else min(workers), signal.SIGKILL)
    _, err = running.communicate(timeout=60)
    assert running.returncode and ("lack of memory: OMP_NUM_THREADS=1 " in err) == (victim == "worker"), err
    wait_for(lambda: not any(map(is_alive, workers)), 20)
    assert running.pid not in workers
    check_each_done_once(tmp_path)
    assert len(said(tmp_path / "begun")) <= 8 + 2  # what was being done is done again


@pytest.mark.parametrize("killed", [False, True], ids=["both end", "one is killed"])
def test_two_commands_share_the_work(killed, tmp_path):
    other = run_command(tmp_path, 1, 0.3)
    wait_for(lambda: said(tmp_path / "begun"))
    mine = threading.Thread(target=lambda: run_pieces(squares(tmp_path, seconds=0.3)))
    mine.start()
    time.sleep(random.uniform(0, 0.6))
    if killed:
        other.kill()
    _, err = other.communicate(timeout=60)
    mine.join(60)
    assert killed or not other.returncode, err
    assert killed or {process for _, process in said(tmp_path / "done")} == {os.getpid(), other.pid}
    begun = [number for number, _ in said(tmp_path / "begun")]
    assert len(begun) <= 8 + killed and not mine.is_alive()
    check_each_done_once(tmp_path)


def test_who_is_at_a_piece_is_seen(tmp_path):
    pieces, seen = squares(tmp_path, 2), []

    def look(*_):
        before = {path.name for path in tmp_path.iterdir()}
        seen.append([is_worked_on(tmp_path, piece.key) for piece in pieces])
        assert {path.name for path in tmp_path.iterdir()} == before

    run_pieces(pieces, progress=look)
    assert seen == [[True, False]] * 4 + [[False, False]] + [[False, True]] * 4 + [[False, False]]


def test_what_cannot_travel_is_done_here(tmp_path, apart):
    lock = threading.Lock()

    def work(*given):
        with lock:
            return square(*given)

    assert run_pieces(squares(tmp_path, work=work)) == SQUARES
    assert {process for _, process in said(tmp_path / "done")} == {os.getpid()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "pieces.json is damaged: not JSON; move it out of the folder"),
        ("[]", "pieces.json was not written by attar"),
        ('{"pieces": {}}', "pieces.json is damaged: its entries do not match its checksum"),
    ],
)
def test_a_ledger_that_is_damaged_or_somebody_elses_is_named_before_anything_is_done(content, told, tmp_path):
    (tmp_path / LEDGER).write_text(content)
    with pytest.raises(ValueError, match=told):
        run_pieces(squares(tmp_path))
    assert not (tmp_path / "begun").exists() and (tmp_path / LEDGER).read_text() == content


def test_a_ledger_is_dropped_when_all_is_done(tmp_path):
    with pytest.raises(PiecesFailed):
        run_pieces(squares(tmp_path, work=fail))
    drop_ledger(tmp_path)
    assert (tmp_path / LEDGER).exists()
    run_pieces(squares(tmp_path))
    drop_ledger(tmp_path)
    assert not (tmp_path / LEDGER).exists()
    drop_ledger(tmp_path)
