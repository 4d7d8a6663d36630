"""`attar compare`: what lies there already is taken, and what is unfinished is resumed."""

import json

import pytest
from typed import attar_command, enter, interrupted, refused, shorten_quick

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)


def test_compare_reuses_what_is_there(here, monkeypatch, capsys):
    words = "compare digits --methods random --ipc 1 2 --seeds 1 --draws 2 --protocol quick"
    words = [*words.split(), "--network", "mlp", "--out", "all"]
    assert attar_command(monkeypatch, *words) == 0
    assert "report: all/report.html" in capsys.readouterr().out
    stamp = (here / "all" / "random-ipc1-seed0" / "recipe.json").stat().st_mtime_ns
    assert attar_command(monkeypatch, *words) == 0
    assert (here / "all" / "random-ipc1-seed0" / "recipe.json").stat().st_mtime_ns == stamp
    assert len(json.loads((here / "all" / "rows.json").read_text())["rows"]) == 4


def test_compare_goes_on_elsewhere_where_asked(here, monkeypatch, capsys):
    words = ["compare", "digits", "--methods", "m3d", "--ipc", "1", "--protocol", "quick", "--seeds", "1"]
    words += ["--out", "all", "--network", "mlp"]
    interrupted(monkeypatch, *words, "--precision", "bf16")
    capsys.readouterr()
    sentence = refused(monkeypatch, capsys, *words, "--precision", "fp32")
    assert "precision bf16 → fp32" in sentence and "--anyway goes on" in sentence
    assert attar_command(monkeypatch, *words, "--precision", "fp32", "--anyway") == 0
