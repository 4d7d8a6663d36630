import pytest

from attar.cli import progress
from attar.cli.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    times = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def test_lines_off_a_terminal(clock, capsys):
    with Progress("dm") as watch:
        for seconds, done in ((121.0, 1), (124.0, 7), (132.0, 23), (133.0, 24)):
            clock[0] = seconds
            watch(done, 45, 2.5)
    assert capsys.readouterr().err.splitlines() == [
        "dm: 1/45, the first after 21 s, compiling included, loss 2.5",
        "dm: 23/45, 2.0/s, loss 2.5, 11 s left",
    ]


def test_on_a_terminal_what_the_first_update_took_stays_above_the_bar(clock, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("dm") as watch:
        clock[0] = 121.0
        watch(1, 45, 2.5)
    assert "dm: 1/45, the first after 21 s, compiling included, loss 2.5\n" in capsys.readouterr().err


def test_each_stage_has_a_rate_of_its_own(clock, capsys):
    with Progress("dance") as watch:
        for seconds, done in ((101.0, 1), (1100.0, 500), (1121.0, 1), (1131.0, 21)):
            clock[0] = seconds
            watch(done, 500, float("nan"))
    assert capsys.readouterr().err.splitlines()[1:] == [
        "dance: 1/500, the first after 21 s, compiling included",
        "dance: 21/500, 2.0/s, 4 min left",
    ]


def test_the_rate_of_a_run_that_goes_on_counts_from_where_it_was(clock, capsys):
    with Progress("dm") as watch:
        for seconds, done in ((101.0, 900), (111.0, 910)):
            clock[0] = seconds
            watch(done, 1000, float("nan"))
    assert capsys.readouterr().err == "dm: 910/1000, 1.0/s, 1 min 30 s left\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_goes_on_is_told_as_text(terminal, clock, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with Progress("dm on [/red] :cat: \x1b[2J") as watch:
        for clock[0] in (121.0, 140.0):
            watch(1, 45, 2.5)
    told = capsys.readouterr().err
    assert r"dm on [/red] :cat: \x1b[2J" in told and "\x1b[2J" not in told
