"""`attar audit`: asked for, resumed, told by status and in the report, and one sentence for what cannot be done."""

import pytest
from typed import attar_command, enter, refused, shorten_quick

SETTINGS = {
    "images": 100,
    "eps": "8/255,32/255",
    "steps": 3,
    "corruptions": "false",
    "strong_images": 0,
    "strongest_images": 0,
    "whole": "false",
}
ASKED = ["--robust", "--protocol", "quick", "--seeds", 1]
ASKED += [word for key, value in SETTINGS.items() for word in ("--set", f"robust.{key}={value}")]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "cache"))
    shorten_quick(monkeypatch)
    assert attar_command(monkeypatch, "condense", "digits", "--method", "random", "--ipc", 2, "--out", "run") == 0
    capsys.readouterr()
    return tmp_path / "run"


def test_a_run_is_audited_once_and_the_report_shows_it(run, monkeypatch, capsys, caplog):
    assert attar_command(monkeypatch, "audit", "run", *ASKED) == 0
    out = capsys.readouterr().out
    assert "accuracy, PGD-3, L∞ 32/255" in out and "gate: accuracy falls with ε" in out
    assert "pieces of work that are kept: 0" in caplog.text
    assert (run / "audit.json").exists() and list((run / "audit").glob("*.safetensors"))
    assert attar_command(monkeypatch, "audit", "run", *ASKED, "--adversarial") == 0
    hardened = capsys.readouterr().out
    assert "networks trained by quick, trained against PGD-3 at L∞ 32/255" in hardened
    assert attar_command(monkeypatch, "audit", "run", *ASKED) == 0
    assert capsys.readouterr().out == out and "to do now: 0" in caplog.text
    assert attar_command(monkeypatch, "report", "run") == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("Does it keep robustness?</h2>") + page.count("Does it keep robustness? Networks") == 2
    capsys.readouterr()
    assert attar_command(monkeypatch, "status", "run") == 0
    assert "pieces in" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "say what to audit: robust, fair, private, distribution, consistency"),
        (["--robust", "--set", "robust.image=3"], "unknown setting of the audit robust 'image', did you mean 'images'"),
        (["--robust", "--set", "robust.eps=-1/255"], "eps must be a number of at least 0"),
        (["--robust", "--set", "private.runs=3"], "unknown audit that is asked for 'private'; known: robust"),
        (["--distribution", "--adversarial"], "--adversarial is how networks are trained that --robust attacks"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(words, told, run, monkeypatch, capsys):
    assert told in refused(monkeypatch, capsys, "audit", "run", *words)
