"""Learned steps: kept with their set, told on its card, and refused where they do not fit it."""

import dataclasses
import json
import math

import pytest
import torch
from small_sets import condensed
from test_card import run_code

from attar.condensed.card import make_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.steps import Steps
from attar.condensed.store import MANIFEST, TENSORS, load, save
from attar.files import hash_file, read_tensors, write_tensors
from attar.report.page import list_settings

OWNER, SIZES = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([[0.5, 0.25, 0.0], [0.1, 0.2, 0.3]])


def stepwise(**parts) -> CondensedSet:
    """Two classes with three images each, two rounds of three steps."""
    return dataclasses.replace(condensed(method="dd", data="insects", **parts), steps=Steps(OWNER, SIZES))


def test_what_is_saved_is_loaded_again(tmp_path):
    made = stepwise()
    read = load(save(made, tmp_path))
    assert torch.equal(read.steps.owner, OWNER) and torch.equal(read.steps.sizes, SIZES)
    assert read.steps.rows.tolist() == [[0, 5], [1, 4], [2, 3]]
    assert made.bytes == condensed().bytes | {"stored": condensed().bytes["stored"] + 6 * 8 + 6 * 4}


def test_a_set_without_them_says_nothing_of_them(tmp_path):
    plain = condensed()
    tensors, _ = read_tensors(save(plain, tmp_path) / TENSORS)
    assert tensors.keys() == {"images", "labels"} and "| Steps |" not in make_card(plain)
    assert "steps" not in dict(list_settings(plain))


def test_the_card_and_the_page_tell_of_them_and_the_code_makes_them(tmp_path, monkeypatch):
    pytest.importorskip("torchvision.datasets")
    made = stepwise()
    save(made, tmp_path)
    text = make_card(made)
    assert "| Steps | 2 × 3, in order, each on its own images and by a learned size |" in text
    assert dict(list_settings(made))["steps"].startswith("2 × 3, in order")
    torch.manual_seed(3)
    network, (x, y) = __import__("attar").ConvNet((1, 8, 8), 2), made.as_dataset().tensors
    params = list(network.parameters())
    for size, rows in zip([0.5, 0.25, 0.0, 0.1, 0.2, 0.3], [[0, 5], [1, 4], [2, 3]] * 2, strict=True):
        found = torch.autograd.grad(torch.nn.functional.cross_entropy(network(x[rows]), y[rows]), params)
        with torch.no_grad():
            for p, gradient in zip(params, found, strict=True):
                p -= size * gradient
    torch.manual_seed(3)
    theirs = run_code(tmp_path, monkeypatch)["network"].state_dict()
    torch.testing.assert_close(theirs, network.state_dict())


def test_what_only_shows_some_of_the_images_leaves_them_out():
    assert stepwise().first(1, 2).steps is None


def test_trainings_are_not_joined():
    with pytest.raises(ValueError, match="sets with learned steps cannot be joined: each is a training of its own"):
        CondensedSet.concat([stepwise(), condensed()])


@pytest.mark.parametrize(
    ("owner", "sizes", "told"),
    [
        (OWNER[:5], SIZES, "each of the 3 steps has as many of the 6 images"),
        (OWNER.clamp(max=1), SIZES, "each of the 3 steps has as many of the 6 images"),
        (OWNER - 1, SIZES, "each of the 3 steps has as many of the 6 images"),
        (OWNER, torch.ones(1, 4), "each of the 4 steps has as many of the 6 images"),
        (OWNER.float(), SIZES, "the steps of images are float32; expected a tensor of int64"),
        (OWNER.to_sparse(), SIZES, "the steps of images are sparse or nested"),
        ([0, 1], SIZES, "the steps of images are a list; expected a tensor of int64"),
        (OWNER, SIZES.tolist(), "the step sizes are a list"),
        (OWNER, SIZES[0], r"the step sizes have the shape \(3,\); expected \(rounds, steps\)"),
        (OWNER, SIZES[:0], "the step sizes have the shape"),
        (OWNER, SIZES - 0.1, "the step sizes go from -0.1 to 0.4; expected 0 to 1000"),
        (OWNER, SIZES * 1e5, "expected 0 to 1000"),
        (OWNER, SIZES * math.nan, "the step sizes hold values that are NaN or infinite"),
    ],
)
def test_steps_that_do_not_fit_the_images_are_refused(owner, sizes, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(condensed(), steps=Steps(owner, sizes))


def test_steps_are_of_whole_images_and_no_tuple():
    with pytest.raises(ValueError, match="the factor is 2; expected 1"):
        stepwise(factor=2)
    with pytest.raises(ValueError, match=r"the steps are .*; expected the step of each image"):
        dataclasses.replace(condensed(), steps=(OWNER, SIZES))


@pytest.mark.parametrize("missing", ["step", "step_sizes"])
def test_no_part_of_them_is_loaded(missing, tmp_path):
    tensors, entries = read_tensors(save(stepwise(), tmp_path) / TENSORS)
    write_tensors(tmp_path / TENSORS, {name: t for name, t in tensors.items() if name != missing}, entries)
    about = {"format": 1, "sha256": hash_file(tmp_path / TENSORS)}
    (tmp_path / MANIFEST).write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="learned steps have the tensors step and step_sizes"):
        load(tmp_path)
