"""The card: it tells the truth, its training code runs, and Hugging Face reads its header."""

import re

import pytest
from small_sets import condensed

from attar.condensed.card import make_card
from attar.condensed.store import save


def test_the_training_code_of_the_card_runs(tmp_path, monkeypatch):
    save(condensed(ipc=2, method="m3d", data="insects"), tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code.replace("range(300)", "range(30)"), names)
    x, y = names["made"].as_dataset().tensors
    assert (names["network"](x).argmax(1) == y).all()


def test_the_header_is_what_hugging_face_reads(tmp_path):
    yaml = pytest.importorskip("yaml")
    text = make_card(condensed(method='a "b": c', data="d\ne"))
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == 'd\ne, condensed by a "b": c'
    assert "dataset-condensation" in head["tags"]
    assert head["task_categories"] == ["image-classification"]
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "images/**"}]


def test_the_card_says_what_is_known_and_nothing_else():
    known = {"method": "m3d", "data": "digits", "seed": 7, "seconds": 3700, "fingerprint": "abc123"}
    known |= {"versions": {"torch": "2.9"}, "engine": {"device": "cpu", "precision": "fp32"}}
    text = make_card(condensed(factor=2, **known, hyperparameters={"lr": 0.5, "init": "mix"}))
    told = ["m3d", "digits", "| Seed | 7 |", "1 h 1 min", "abc123", "torch 2.9", "cpu", "fp32", "`0.5`"]
    for words in (*told, "2 × 2", "decode to 24", "0.4"):
        assert words in text, words
    bare = make_card(condensed())
    assert "None" not in bare
    for words in ("Seed", "Engine", "Versions", "Fingerprint", "Hyper-parameters"):
        assert words not in bare


def test_names_are_shown_as_they_are():
    text = make_card(condensed(("<b>&", "a|b", "[x](y)")))
    assert r"\<b\>\&, a\|b, \[x\](y)" in text
