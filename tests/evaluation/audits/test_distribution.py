"""Distribution from end to end on a toy: real subsets are as real as others, learned noise is not."""

import pytest
import torch
from conftest import narrow, toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.evaluation.audits.distribution import Distribution, draw_alike, standardise
from attar.rng import Rng
from attar.training.protocol import Protocol

BRIEF = Protocol("brief", "for tests", 4, 64, "half")
SMALL = Distribution(reference=90, pool=120)
OPTIONS = {"device": "cpu", "precision": "fp32", "protocol": BRIEF, "seeds": 1}


def of(rows, name, method):
    (row,) = (row for row in rows if row.name == name and row.method == method)
    return row.value


def test_a_set_that_is_not_real_stands_out_and_the_control_does_not(tmp_path):
    task = narrow(toy(1, 8, (80, 80, 80)))
    images = torch.rand(12, 1, 8, 8, generator=Rng.of(0).generator()) * 4 - 2
    about = {"space": "normalised", "provenance": {"method": "noise"}}
    made = CondensedSet.of(task, images, torch.arange(3).repeat_interleave(4), **about)
    rows = attar.audit(made, task, distribution=SMALL, out=tmp_path / "audit", **OPTIONS)
    assert {row.method for row in rows} == {"noise", "random"}  # no subset is as large as the whole set
    for space in ("pixels", "unlearned features", "trained features"):
        assert of(rows, f"FID, z, {space}", "noise") > 4
    controls = [row.value for row in rows if row.method == "random" and ", z, " in row.name and row.value is not None]
    assert len(controls) > 40 and sum(abs(value) < 3 for value in controls) > 0.9 * len(controls)
    assert of(rows, "KID of a, z, trained features", "noise") > 4
    assert of(rows, "out of range, % of pixels, pixels", "random") == 0
    assert of(rows, "out of range, % of pixels, pixels", "noise") > 5
    again = attar.audit(made, task, distribution=SMALL, out=tmp_path / "audit", **OPTIONS)
    assert again == rows


def test_subsets_have_the_classes_of_the_set():
    classes, wanted = torch.arange(4).repeat(10), torch.tensor([0, 0, 2, 3, 3, 3])
    rows = draw_alike(classes, wanted, Rng.of(0))
    assert sorted(classes[rows].tolist()) == wanted.tolist() and len(rows.unique()) == 6


def test_a_score_is_in_deviations_of_real_subsets():
    assert standardise(5.0, [1.0, 2.0, 3.0]) == 3.0
    assert standardise(None, [1.0, 2.0]) is None and standardise(1.0, [2.0, 2.0]) is None
    assert standardise(1.0, [None, None]) is None


@pytest.mark.parametrize(
    "audit, told",
    [
        (Distribution(subsets=19), "subsets must be at least 20, or no deviation can be told, not 19"),
        (Distribution(reference=0), "reference and pool must be at least 2, not 0 and 2000"),
        (Distribution(pool=6), r"the pool holds \d real images of '[abc]', too few to draw \d from"),
    ],
)
def test_what_says_nothing_is_one_sentence(audit, told):
    task = narrow(toy(1, 8, (24, 24, 24)))
    made = attar.condense(task, "random", 5)
    with pytest.raises(ValueError, match=told):
        attar.audit(made, task, distribution=audit, **OPTIONS)
