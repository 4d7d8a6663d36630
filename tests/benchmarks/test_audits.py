"""Measurements of audits: each can be asked for, is made once, and says before what it will cost."""

import importlib
from pathlib import Path

import pytest

from attar.evaluation.audits.distribution import Distribution
from attar.files import read_json

HOME = Path(__file__).parents[2]


@pytest.fixture
def audits(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HOME / "benchmarks")
    module = importlib.import_module("audits")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "RUNS", tmp_path / "audits")
    monkeypatch.setattr(module.quality, "RUNS", tmp_path / "quality")
    return module


def test_all_sets_can_be_made_as_they_are_asked_for(audits):
    assert len({question.name for question in audits.QUESTIONS}) == len(audits.QUESTIONS)
    for question in audits.QUESTIONS:
        assert len({(one.cell.data, one.cell.ipc) for one in question.sets}) == 1
        assert len({(one.cell.name, one.seed) for one in question.sets}) == len(question.sets)
        assert all(audits.settle(one.cell) is not None for one in question.sets)
    assert len(next(q for q in audits.QUESTIONS if q.name.startswith("consistency")).sets) == 60


def test_a_question_is_planned_then_measured_once(audits, monkeypatch, capsys):
    small = Distribution(reference=100, pool=200, trained=False)
    question = audits.Question("small", (audits.draw("digits", "random", 2),), small)
    monkeypatch.setattr(audits, "QUESTIONS", [question])
    audits.main(plan=True)
    assert "small: 1 of 1 sets to make, about 0.0 s; then 2 pieces" in capsys.readouterr().out
    audits.main()
    held = read_json(audits.RESULTS / "small.json")
    assert held["machine"] and held["commit"] and held["seeds"] == [0, 1, 2] and held["settings"]["reference"] == 100
    assert len(held["condensation"]) == 1 and any(row["name"] == "KID, z, pixels" for row in held["rows"])
    capsys.readouterr()
    audits.main()
    assert capsys.readouterr().out == ""
