"""Step sizes, soft labels and whitening that come with a set: used by the protocols that say so, and named in rows."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.steps import Steps
from attar.evaluation.rows import read_rows, summarise
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS

CPU = {"device": "cpu", "precision": "fp32"}
MTT, DATM, DM = (dataclasses.replace(PROTOCOLS[name], steps=20) for name in ("mtt", "datm", "dm"))


def learned(step_size: float | None = 0.02) -> tuple:
    """A task, and a set of its images as networks see them whitened."""
    task = narrow(toy(3))
    seen = task.whitened()
    rows = task.first(8).flatten()
    images, labels = seen.images(rows), task.train.y[rows]
    made = CondensedSet.of(seen, images, labels, space="normalised", provenance={"method": "mtt"})
    return task, dataclasses.replace(made, step_size=step_size)


def test_protocols_are_the_literatures():
    mtt, datm = PROTOCOLS["mtt"], PROTOCOLS["datm"]
    assert (mtt.epochs, mtt.batch, mtt.drops(1001), mtt.soft, mtt.learned_step, mtt.whitened) == (
        1001,
        256,
        {502: 0.1},
        False,
        True,
        True,
    )
    assert datm == dataclasses.replace(mtt, name="datm", about=datm.about, batch=128, soft=True)
    _, made = learned(0.5)
    without = dataclasses.replace(made, step_size=None)
    assert mtt.at(made).lr == 0.5 and mtt.at(without) == mtt and DM.at(made) == DM


def test_mtt_takes_whitening_and_step_size_and_its_rows_name_them(tmp_path):
    task, made = learned()
    (row,) = attar.evaluate(made, task, protocol=MTT, seeds=1, out=tmp_path, **CPU)
    assert (row.whitening, row.step_size, row.soft, row.protocol) == ("ZCA", 0.02, False, "mtt")
    assert row.bytes == made.bytes["stored"] + made.bytes["whitening"]
    assert summarise([row])[0].cells()[2] == "mtt (ZCA, learned step size)"
    assert read_rows(tmp_path / "rows.json") == [row]
    other = dataclasses.replace(made, step_size=0.5)
    (longer,) = attar.evaluate(other, task, protocol=MTT, seeds=1, out=tmp_path, **CPU)
    assert longer.key != row.key and longer.step_size == 0.5


def test_training_is_by_that_step_size_on_those_images():
    """The very same as a protocol with the number in it, whose networks see what they are given."""
    task, made = learned()
    (row,) = attar.evaluate(made, task, protocol=MTT, seeds=1, **CPU)
    plain = dataclasses.replace(DM, lr=0.02, whitened=True)
    (same,) = attar.evaluate(dataclasses.replace(made, step_size=None), task, protocol=plain, seeds=1, **CPU)
    assert same.per_class == row.per_class and same.step_size is None


def test_other_protocols_undo_whitening_and_leave_the_step_size():
    task, made = learned()
    back = made.renormalised(task.normalisation)
    rows = attar.evaluate([made, back, dataclasses.replace(back, step_size=None)], task, protocol=DM, seeds=1, **CPU)
    assert len({(row.accuracy, row.per_class, row.bytes) for row in rows}) == 1
    assert all(row.remark == "" and row.step_size is None and row.whitening == "" for row in rows)
    assert rows[0].bytes == made.bytes["stored"]


def test_a_set_that_is_not_whitened_is_judged_as_it_is_and_never_compared_with_one_that_is():
    task, made = learned()
    plain = dataclasses.replace(made.renormalised(task.normalisation), provenance={"method": "random"})
    rows = attar.evaluate([made, plain], task, protocol=MTT, seeds=1, **CPU)
    assert [row.whitening for row in rows] == ["ZCA", ""]
    assert [cell.gain for cell in summarise(rows)] == [None, None]


def test_datm_trains_on_soft_labels():
    task, made = learned()
    soft = F.one_hot((made.labels + 1) % 3, 3).float()
    taught = dataclasses.replace(made, soft=soft)
    (row,) = attar.evaluate(taught, task, protocol=DATM, seeds=1, **CPU)
    assert row.soft and row.remark == " (soft labels, ZCA, learned step size)"
    (by_hand,) = attar.evaluate(taught, task, protocol=dataclasses.replace(MTT, batch=128), soft=True, seeds=1, **CPU)
    assert by_hand.per_class == row.per_class and by_hand.bytes == row.bytes == sum(
        count for name, count in taught.bytes.items() if name != "eight_bit"
    )


@pytest.mark.parametrize(
    "protocol, step_size, told",
    [
        ("mtt", None, "the set of mtt, 8 per class, has no learned step size, with which the protocol mtt trains"),
        ("datm", 0.1, "the set of mtt, 8 per class, has no soft labels"),
        ("dd", 0.1, "the set of mtt, 8 per class, has no learned steps, by which the protocol dd trains"),
    ],
)
def test_a_set_that_lacks_what_a_protocol_takes_is_refused(protocol, step_size, told):
    task, made = learned(step_size)
    with pytest.raises(ValueError, match=f"^{told}"):
        attar.evaluate(made, task, protocol=protocol, **CPU)


def stepwise() -> tuple:
    """A task, and a set with two rounds of four steps."""
    task, made = learned(None)
    made = dataclasses.replace(made.renormalised(task.normalisation), provenance={"method": "dd"})
    sizes = torch.tensor([[0.3, 0.1, 0.2, 0.1], [0.1, 0.2, 0.1, 0.3]])
    return task, dataclasses.replace(made, steps=Steps(torch.arange(4).repeat(6), sizes))


def test_dd_trains_by_the_steps_of_the_set_alone_and_its_rows_name_them(tmp_path):
    """The very network that a slow loop makes."""
    task, made = stepwise()
    (row,) = attar.evaluate(made, task, protocol="dd", seeds=1, out=tmp_path, **CPU)
    assert (row.epochs, row.learned_steps, row.step_size, row.remark) == (2, 8, None, " (8 learned steps)")
    assert read_rows(tmp_path / "rows.json") == [row]
    x, y = made.as_dataset().tensors
    params = task.network.init(Rng.of(0).fold("evaluate").fold("network")).params
    for size, step in zip(made.steps.sizes.flatten(), [0, 1, 2, 3] * 2, strict=True):
        rows = (made.steps.owner == step).nonzero()[:, 0]
        gradient = task.network.gradient(Weights(params, {}), x[rows], y[rows])
        params = {name: p - size * gradient[name] for name, p in params.items()}
    found = task.network.scores(Weights(params, {}), task.normalise(task.test.x)).argmax(1)
    assert row.accuracy == pytest.approx(100 * (found == task.test.y).float().mean().item())


def test_another_order_or_size_is_another_network():
    task, made = stepwise()
    others = [
        dataclasses.replace(made, steps=steps)
        for steps in (
            made.steps._replace(owner=3 - made.steps.owner),
            made.steps._replace(sizes=made.steps.sizes / 2),
        )
    ]
    rows = attar.evaluate([made, *others], task, protocol="dd", seeds=1, **CPU)
    assert len({row.key for row in rows}) == 3


def test_other_protocols_take_the_images_and_leave_the_steps():
    task, made = stepwise()
    rows = attar.evaluate([made, dataclasses.replace(made, steps=None)], task, protocol=DM, seeds=1, **CPU)
    assert rows[0].key == rows[1].key and all(row.learned_steps == 0 and row.remark == "" for row in rows)


def test_images_to_test_on_alone_are_enough():
    task, made = learned()
    test = task.test.x, task.test.y
    for protocol, seen in ((MTT, "ZCA"), (DM, "")):
        (row,) = attar.evaluate(made, test=test, protocol=protocol, seeds=1, flip=False, **CPU)
        assert row.whitening == seen and row.accuracy >= 0


def test_keys_of_other_protocols_are_as_they_were():
    """Rows and networks that were kept before protocols could take more of a set are found again."""
    assert not any(name in repr(PROTOCOLS["dm"]) for name in ("learned_step", "soft", "whitened", "in_order"))
    assert repr(PROTOCOLS["dm"]).endswith("steps=None, lr=0.01, momentum=0.9, weight_decay=0.0005)")
