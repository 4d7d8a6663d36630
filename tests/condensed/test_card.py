"""The card: it tells the truth, its training code runs, and Hugging Face reads its header."""

import importlib
import re

import pytest
import torch
from small_sets import condensed

from attar.condensed.card import make_card
from attar.condensed.store import save


def run_code(folder, monkeypatch) -> dict:
    """What every piece of code on the card leaves behind, run from inside the folder."""
    monkeypatch.chdir(folder)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(code.replace("range(300)", "range(30)"), names)
    return names


@pytest.fixture
def torchvision():
    try:
        importlib.import_module("torchvision.datasets")
    except RuntimeError as error:  # one built for another torch does not even import
        pytest.skip(str(error))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_code_of_the_card_runs(tmp_path, monkeypatch, torchvision, channels, factor):
    made = condensed(("bee", "ant"), ipc=2, factor=factor, channels=channels, method="m3d", data="insects")
    save(made, tmp_path)
    names = run_code(tmp_path, monkeypatch)
    x, y = names["made"].as_dataset().tensors
    if factor == 1:
        assert (names["network"](x).argmax(1) == y).all()
    # The pictures give the same images, grey ones too, in the order of the classes.
    images, labels = (
        torch.stack(part) for part in zip(*((i, torch.tensor(c)) for i, c in names["images"]), strict=True)
    )
    x, y = made.as_dataset(eight_bit=True).tensors
    order = y.argsort(stable=True)
    assert torch.equal(labels, y[order])
    torch.testing.assert_close(images, x[order], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "channels, words", [(1, "gives RGB"), (2, "the first channel of 2"), (5, "three channels of 5")]
)
def test_the_card_says_what_pictures_lose(channels, words):
    text = make_card(condensed(channels=channels))
    assert words in text and ("torchvision import" in text) == (channels == 1)
    assert not any(lost in make_card(condensed(channels=3)) for lost in ("RGB", "They hold only"))


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
    text = make_card(condensed(("<b>&", "a|b", "[x](y)", "\x1b[31m\u202e"), data="\x07"))
    assert r"\\x1b\[31m\\u202e" in text and "\x07" not in text.split("---\n")[2]
    assert r"\<b\>\&, a\|b, \[x\](y)" in text
