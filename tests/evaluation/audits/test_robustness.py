"""Robust from end to end on a toy: rows, gates, controls, both ways of training, and what is refused."""

import dataclasses

import pytest
import torch
from conftest import narrow, toy

import attar
from attar.evaluation.audits.attacks.trials import choose_grid, read_grid
from attar.evaluation.audits.measures import read_measures
from attar.evaluation.audits.robustness import Robust
from attar.training.protocol import Protocol

BRIEF = Protocol("brief", "for tests", 30, 64, "half")
SMALL = Robust(
    eps=[1 / 255, 32 / 255],
    images=100,
    steps=12,
    strong_images=10,
    strong_steps=5,
    restarts=2,
    strongest_images=10,
    iterations=6,
    queries=10,
)
CPU = {"device": "cpu", "precision": "fp32", "protocol": BRIEF}


@pytest.fixture(scope="module")
def easy():
    """Bars that a narrow network learns well from a few images, with 200 to test on."""
    task = narrow(toy(1, 8, (40, 40, 40), contrast=0.5))
    test = toy(1, 8, (70, 70, 70), contrast=0.5, seed=1).train
    return dataclasses.replace(task, test=test)


@pytest.fixture(scope="module")
def audited(easy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust") / "run"
    attar.condense(easy, "dm", 4, updates=2, init="real", out=folder)
    return folder, attar.audit(folder, easy, robust=SMALL, seeds=2, out=folder, **CPU)


def of(rows, name, method="dm"):
    (row,) = (row for row in rows if row.name == name and row.method == method)
    return row


def test_every_subject_has_every_row_and_the_gates_hold(audited):
    folder, rows = audited
    assert list(dict.fromkeys(row.method for row in rows)) == ["dm", "random", "whole set"]
    names = {row.name for row in rows if row.method == "dm"}
    for attack in ("FGSM", "PGD-12"):
        assert {f"accuracy, {attack}, L∞ 1/255", f"accuracy, {attack}, L∞ 32/255"} <= names
    for attack in ("PGD-5 × 2", "APGD-CE", "then APGD-T", "then Square"):
        assert {f"accuracy, {attack}, L∞ {ball}/255 (10 images)" for ball in (1, 32)} <= names
    assert {"accuracy, PGD-12, L2 0.5", "accuracy, all corruptions", "accuracy, jpeg", "accuracy"} <= names
    assert of(rows, "accuracy", "whole set").value > 90
    gates = [row for row in rows if row.name.startswith("gate") and row.method != "whole set"]
    assert len(gates) == 8 and all(row.value == 1 for row in gates)
    assert of(rows, "accuracy").tested == 100 and of(rows, "accuracy").networks == 2
    assert read_measures(folder / "audit.json") == rows


def test_an_attack_of_too_few_steps_is_found_out(audited, easy):
    folder, _ = audited
    weak = dataclasses.replace(SMALL, steps=1, corruptions=False, strong_images=0, strongest_images=0, whole=False)
    rows = attar.audit(folder, easy, robust=weak, seeds=1, out=folder, **CPU)
    assert of(rows, "gate: PGD-1 is no weaker than FGSM").value == 0
    assert of(rows, "gate: PGD-1 is no weaker than FGSM").text == "FAILS"


def test_numbers_lie_in_their_intervals_and_in_order(audited):
    _, rows = audited
    for row in rows:
        assert row.low is None or row.low <= row.value <= row.high
    for method in ("dm", "random", "whole set"):
        for ball in ("L∞ 1/255 (10 images)", "L∞ 32/255 (10 images)"):
            ce, t, square = (
                of(rows, f"accuracy, {attack}, {ball}", method).value
                for attack in ("APGD-CE", "then APGD-T", "then Square")
            )
            assert square <= t <= ce
    gap = of(rows, "L_adv on training images, gap to the whole set").value
    one, whole = (of(rows, "L_adv on training images, L∞ 1/255", m).value for m in ("dm", "whole set"))
    assert gap == pytest.approx(abs(one - whole), abs=1e-4)


def test_networks_are_shared_and_a_second_audit_trains_and_attacks_nothing(audited, easy, caplog):
    folder, rows = audited
    kept = {path.name for path in (folder / "audit").glob("*.safetensors")}
    assert len(kept) == 5  # two each of the set and of random images, and one of the whole set
    assert attar.audit(folder, easy, robust=SMALL, seeds=2, out=folder, **CPU) == rows
    assert "to do now: 0" in caplog.text
    attar.audit(folder, easy, robust=dataclasses.replace(SMALL, steps=3, corruptions=False), seeds=2, out=folder, **CPU)
    assert {path.name for path in (folder / "audit").glob("*.safetensors")} == kept


def test_hardened_networks_are_told_apart_and_stand_firmer(audited, easy):
    folder, plain = audited
    few = dataclasses.replace(
        SMALL, adversarial=True, corruptions=False, strong_images=0, strongest_images=0, whole=False
    )
    rows = attar.audit(folder, easy, robust=few, seeds=2, out=folder, **CPU)
    assert {row.trained for row in rows} == {"brief, trained against PGD-3 at L∞ 32/255"}
    assert {row.method for row in rows} == {"dm", "random"}
    name = "accuracy, PGD-12, L∞ 32/255"
    assert of(rows, name).value > of(plain, name).value


def test_sets_of_the_same_images_in_two_folders_have_networks_each(audited, easy, tmp_path):
    folder, rows = audited
    for name in ("a", "b"):
        attar.save(attar.load(folder), tmp_path / name)
    few = dataclasses.replace(SMALL, corruptions=False, strong_images=0, strongest_images=0, whole=False)
    attar.audit([tmp_path / "a", tmp_path / "b"], easy, robust=few, seeds=1, **CPU)
    for name in ("a", "b"):
        assert len(list((tmp_path / name / "audit").glob("*.safetensors"))) == 1
        assert of(read_measures(tmp_path / name / "audit.json"), "accuracy").value == of(rows, "accuracy").value


def test_grids_suit_the_data():
    assert choose_grid(toy(3, 32)) == (1 / 255, 2 / 255, 4 / 255, 8 / 255)
    assert choose_grid(toy(3, 64)) == (0.5 / 255, 1 / 255, 2 / 255, 4 / 255)
    assert choose_grid(toy(1, 28, name="mnist")) == (0.1, 0.2, 0.3)
    assert read_grid("2/255 1/255") == (1 / 255, 2 / 255) and read_grid(0.1) == (0.1,)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"eps": -0.1}, "eps must be a number of at least 0, in pixels on .0, 1., not -0.1"),
        ({"eps": "8/255, much"}, "eps must be numbers such as 1/255, 2/255"),
        ({"eps": 0.0}, "eps must be above 0"),
        ({"l2": -1.0}, "eps must be a number of at least 0"),
        ({"images": 5}, "images must be at least 100 for the audit robust, not 5"),
        ({"steps": 0}, "steps must be at least 1 for the audit robust, not 0"),
        ({"restarts": 31}, "restarts must be at most 30, not 31"),
        ({"images": "all"}, "images must be a whole number, not 'all'"),
    ],
)
def test_what_cannot_be_attacked_is_one_sentence(options, told, task):
    with pytest.raises(ValueError, match=told):
        attar.audit(attar.CondensedSet.whole(task), task, robust=Robust(**options), **CPU)


def test_a_table_has_no_pixels():
    rows = torch.rand(200, 4)
    with pytest.raises(ValueError, match="attacks and corruptions are for images"):
        data = attar.load_data((rows.numpy(), (rows.sum(1) > 2).long().numpy()))
        attar.audit(attar.CondensedSet.whole(data), data, robust=True, device="cpu")
