"""An interrupted run is resumed as it was, and what does not fit is named."""

import pytest
from typed import FAST, attar_command, enter, interrupted, refused, shorten_quick

import attar
from attar.synthesis.checkpoint import CHECKPOINT

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


def test_a_damaged_checkpoint_is_named_and_leftovers_of_killed_writes_are_removed(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    checkpoint, leftover = here / "a" / CHECKPOINT, here / "a" / f".{CHECKPOINT}.123.part"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    leftover.touch()
    assert f"a/{CHECKPOINT} is damaged" in refused(monkeypatch, capsys, *words, "--resume")
    assert not leftover.exists()
    leftover.touch()
    assert attar_command(monkeypatch, *words, "--overwrite") == 0
    assert not leftover.exists()


def test_what_differs_is_named(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    capsys.readouterr()
    sentence = refused(monkeypatch, capsys, *words, "--set", "updates=13", "--resume")
    assert "a holds a run with updates = 12, not 13" in sentence


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", b'{"format": 1}'), ("run.json", b"\xff\n"), (CHECKPOINT, None)],
)
def test_what_is_no_run_is_named(name, content, here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words)
    if content is None:
        assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", "1", "--out", "b") == 0
        content = (here / "b" / "condensed.safetensors").read_bytes()
    (here / "a" / name).write_bytes(content)
    capsys.readouterr()
    assert f"a/{name} " in refused(monkeypatch, capsys, *words, "--resume")


def test_a_run_of_another_version_is_refused(here, monkeypatch, capsys):
    words = ["condense", "digits", "--method", "random", "--ipc", "1", "--out", "a"]
    (here / "a").mkdir()
    (here / "a" / "run.json").write_text('{"format": 0, "method": "random"}')
    assert "has format 0; this attar reads format 1" in refused(monkeypatch, capsys, *words, "--resume")


def test_another_engine_asks(here, monkeypatch, capsys):
    words = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
    interrupted(monkeypatch, *words, "--precision", "fp32")
    err = capsys.readouterr().err
    assert "attar condense digits --ipc 1" in err and "--precision fp32 --resume" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    sentence = refused(monkeypatch, capsys, *words, "--precision", "bf16", "--resume")
    assert "precision fp32 → bf16" in sentence and "its bits will differ" in sentence
    assert "holds an unfinished run: --resume" in refused(monkeypatch, capsys, *words)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, code in (("", 2), ("yes", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert attar_command(monkeypatch, *words, "--precision", "bf16", "--resume") == code
    engines = [attar.load("a").provenance[name]["precision"] for name in ("begun_on", "engine")]
    assert engines == ["fp32", "bf16"]
