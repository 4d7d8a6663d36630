"""`attar status` says what a folder holds, and changes nothing in it."""

import json
from functools import partial

import pytest
from typed import FAST, attar_command, contents, enter, interrupted, refused, shorten_quick

from attar.condensed.store import MANIFEST, REQUEST
from attar.engine.ledger import LEDGER, lock_path
from attar.engine.piece import Piece
from attar.engine.pieces import PiecesFailed, run_pieces
from attar.locks import hold_lock
from attar.replacing import READY
from attar.runs.run_folder import LOCK

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


def status(monkeypatch, capsys, folder) -> list[str]:
    """Its lines without the folder's name."""
    capsys.readouterr()
    before = contents(folder)
    assert attar_command(monkeypatch, "status", folder) == 0
    assert contents(folder) == before
    return [line.removeprefix(f"{folder}: ") for line in capsys.readouterr().out.splitlines()]


def test_a_run(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    (told,) = status(monkeypatch, capsys, here / "a")
    assert told.startswith("interrupted, --resume goes on with it: m3d on digits, 1 per class; 7 of 12 updates in ")
    with hold_lock(here / "a" / LOCK):
        (told,) = status(monkeypatch, capsys, here / "a")
    assert told.startswith("being worked on: m3d on digits, 1 per class; 7 of 12 updates in ")
    assert attar_command(monkeypatch, *words, "--resume") == 0
    assert status(monkeypatch, capsys, here / "a")[0].startswith("done: m3d on digits, 1 per class, in ")
    interrupted(monkeypatch, *words, "--overwrite")
    told = status(monkeypatch, capsys, here / "a")
    assert [line.partition(":")[0] for line in told] == ["done", "interrupted, --resume goes on with it"]
    (here / "a" / ".next.part").rename(here / "a" / READY)  # as a kill leaves it that falls into the last step
    assert status(monkeypatch, capsys, here / "a")[0] == "done, and put in its place by the next command that reads it"


def test_a_comparison(here, monkeypatch, capsys):
    words = ["compare", "digits", "--methods", "random", "--ipc", "1", "2", "--protocol", "quick", "--seeds", "2"]
    assert attar_command(monkeypatch, *words, "--out", "all") == 0
    told = status(monkeypatch, capsys, here / "all")
    assert told[0].startswith("done: 4 networks judged, trained in ") and len(told) == 3
    assert told[1].startswith(f"{here}/all/random-ipc1-seed0: done: random on digits, 1 per class, in ")


def work(number, tick):
    tick()
    if number == 1:
        raise ValueError("it does not rain")
    if number == 2:
        raise KeyboardInterrupt
    return number


def pieces(folder, cost):
    found = {0: 0} if (folder / LEDGER).exists() else {}
    return [
        Piece("rain", f"cloud {i}", 5, folder, partial(work, i), partial(found.get, i), cost, steps=3) for i in range(4)
    ]


@pytest.mark.parametrize(
    ("cost", "left"), [(0, "left: 2 of 4 pieces"), (10**12, "left: 2 of 4 pieces, 2 TFLOP, about 0.0 s one after")]
)
def test_pieces(cost, left, here, monkeypatch, capsys):
    made = pieces(here / "a", cost)
    with pytest.raises(KeyboardInterrupt):
        run_pieces(made)
    done, failed, told = status(monkeypatch, capsys, here / "a")
    assert (done, failed) == ("done: 1 of 4 pieces in 0.0 s", "failed: cloud 1, seed 5: it does not rain")
    assert told.startswith(left) and (cost or told == left)
    with hold_lock(lock_path(here / "a", made[3].key)):
        told = status(monkeypatch, capsys, here / "a")
    assert told[1] == "being worked on: cloud 3, seed 5, 0 of 3 steps" and told[3].startswith("left: 1 of 4 pieces")
    with pytest.raises(PiecesFailed, match="1 of 2 pieces failed"):
        run_pieces(pieces(here / "a", cost)[:2])


def test_an_evaluation_that_is_interrupted(here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "a") == 0
    words = ["evaluate", "a", "--network", "mlp", "--protocol", "quick", "--seeds", "3"]
    interrupted(monkeypatch, *words, at=25)  # in the second network
    _, rows, done, left = status(monkeypatch, capsys, here / "a")
    assert rows.startswith("done: 1 network judged") and done.startswith("done: 1 of 3 pieces in ")
    assert left.startswith("left: 2 of 3 pieces, ")
    assert attar_command(monkeypatch, *words) == 0
    assert len(status(monkeypatch, capsys, here / "a")) == 2


def test_what_is_none_of_attars_is_refused(here, monkeypatch, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").touch()
    for name in ("mine", "nowhere", "mine/letter.txt"):
        told = refused(monkeypatch, capsys, "status", name)
        assert told == f"attar: {name} holds no run, no comparison and no pieces of work"
    for name, content, told in (
        (REQUEST, {"format": 1}, "was not written by attar"),
        (MANIFEST, [], "was not written by attar"),
        (LEDGER, {"pieces": {"../a": {}}, "checksum": ""}, "is damaged"),
    ):
        (here / "mine" / name).write_text(json.dumps(content))
        assert f"mine/{name} {told}" in refused(monkeypatch, capsys, "status", "mine")
        (here / "mine" / name).unlink()
