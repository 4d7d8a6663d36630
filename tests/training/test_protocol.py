"""Protocols: their lengths and drops are the literature's."""

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
