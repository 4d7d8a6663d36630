"""Protocols: their lengths and drops are the literature's."""

import dataclasses

import numpy as np
import pytest

from attar.training.protocol import PROTOCOLS


def test_lengths_and_drops_are_the_literatures():
    dc, dm, idc, quick = (PROTOCOLS[name] for name in ("dc", "dm", "idc", "quick"))
    assert (dc.epochs, dc.drops(301)) == (301, {152: 0.1})
    assert (dm.epochs, dm.drops(1001)) == (1001, {502: 0.1})
    assert (idc.epochs, idc.drops(1000), idc.batch, idc.cutmix) == (1000, {666: 0.2, 833: 0.2}, 64, 0.5)
    drops = [idc.drops(epochs) for epochs in (1, 2, 3, 10)]
    assert drops == [{}, {1: pytest.approx(0.04)}, {2: pytest.approx(0.04)}, {6: 0.2, 8: 0.2}]
    assert all((p.lr, p.momentum, p.weight_decay) == (0.01, 0.9, 5e-4) for p in (dc, dm, idc))
    assert quick.length(100) == 300 and quick.length(1437) == 50 and quick.updates(1437) == 300
    assert not dc.augment.names and dm.augment.style == "dsa" and idc.augment.style == "idc"


def test_frepo_takes_a_thousand_steps_whatever_the_budget():
    frepo = PROTOCOLS["frepo"]
    assert [frepo.updates(n) for n in (10, 100, 500, 1000)] == [1000] * 4 and 1000 <= frepo.updates(5000) < 1010
    factors = [frepo.factor(done, 1000) for done in (0, 250, 500, 750, 1000)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0]) and frepo.drops(1000) == {}
    assert (frepo.lr, frepo.optimiser, frepo.loss, frepo.weight_decay, frepo.whitened) == (
        3e-4,
        "adam",
        "squares",
        0,
        True,
    )
    assert PROTOCOLS["dm"].factor(0, 9) == 1


def test_bptt_takes_a_thousand_steps_of_adam_whatever_the_budget():
    bptt = PROTOCOLS["bptt"]
    assert [bptt.updates(n) for n in (10, 100, 256)] == [1000] * 3 and 1000 <= bptt.updates(1000) < 1004
    assert (bptt.lr, bptt.optimiser, bptt.weight_decay, bptt.whitened, bptt.drops(1000)) == (1e-3, "adam", 0, True, {})
    assert bptt.factor(500, 1000) == 1 and bptt.augment.names == ["flip", "rotate"]


def test_protocols_of_older_versions_are_told_as_they_told_them():
    """By that text rows and trained networks were kept."""
    told = "Protocol(name='cafe', about='601 epochs, no augmentation (CAFE)', epochs=601, batch=256, decay='half', "
    told += (
        "augment=Augment(strategy='', style='dsa'), cutmix=0.0, steps=None, lr=0.01, momentum=0.9, weight_decay=0.0005)"
    )
    assert repr(PROTOCOLS["cafe"]) == told
    assert repr(dataclasses.replace(PROTOCOLS["cafe"], optimiser="adam")) == f"{told[:-1]}, optimiser='adam')"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": "9"}, "epochs must be a whole number, not '9'"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"batch": 1.5}, "batch must be a whole number, not 1.5"),
        ({"steps": -1}, "steps must be at least 1, not -1"),
        ({"decay": "step"}, "unknown decay 'step'; known: half, thirds, constant, warm-up"),
        ({"lr": float("nan")}, "lr must be a number of at least 0, not nan"),
        ({"cutmix": "0.5"}, "cutmix must be a number of at least 0, not '0.5'"),
    ],
)
def test_a_protocol_by_which_nothing_can_be_trained_is_refused(change, told):
    with pytest.raises(ValueError) as refusal:
        dataclasses.replace(PROTOCOLS["dm"], **change)
    assert str(refusal.value) == told


def test_numbers_of_any_type_are_the_same_protocol():
    assert repr(dataclasses.replace(PROTOCOLS["dm"], epochs=np.int64(1001))) == repr(PROTOCOLS["dm"])
