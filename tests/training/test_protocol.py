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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": "9"}, "epochs must be a whole number, not '9'"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"batch": 1.5}, "batch must be a whole number, not 1.5"),
        ({"steps": -1}, "steps must be at least 1, not -1"),
        ({"decay": "cosine"}, "unknown decay 'cosine'; known: half, thirds"),
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
