"""IDC's networks: where they begin, and what they learn from."""

import math

import pytest
import torch

from attar.engine.run import Run
from attar.methods.gradient.idc import IDC
from attar.rng import Rng

FEW = {"updates": 4, "ipm": 2, "batch_real": 4, "examples": 8, "batch_train": 4, "factor": 1, "init": "real"}


def condense(task, method, seed=0):
    seen = []
    run = Run(Rng.of(seed), progress=lambda done, total, loss: seen.append(loss))
    return method(task, 1, run), seen, run


def test_with_models_networks_begin_where_shared_ones_were_early(task, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))  # other methods' tests share these networks
    method = IDC(models=2, epochs=2, **FEW)
    assert method.stages(task, Run(Rng.of(0)))[0].missing == 2
    made, seen, _ = condense(task, method)
    training = sum(map(math.isnan, seen))
    assert training > 0 and len(seen) - training == 4
    again, seen, run = condense(task, method)
    assert not any(map(math.isnan, seen)) and len(run.ledger.cached_seconds) == 2
    assert torch.equal(made.images, again.images)
    assert not method.stages(task, Run(Rng.of(0)))[0].missing and IDC(**FEW).stages(task, Run(Rng.of(0))) == []
    assert not torch.equal(made.images, condense(task, IDC(**FEW))[0].images)


def test_a_network_is_shared_by_so_many_updates_and_learns_between_them(task):
    """With one update a network none learns: how many images it would learn from then changes nothing."""
    for ipm, alike in ((1, True), (2, False)):
        few, more = (condense(task, IDC(**FEW | {"ipm": ipm, "examples": n}))[0] for n in (4, 8))
        assert torch.equal(few.images, more.images) == alike


@pytest.mark.parametrize("examples", [1, 10**6])
def test_it_learns_from_as_many_images_as_there_are(examples, task):
    assert condense(task, IDC(**FEW | {"examples": examples}))[0].images.isfinite().all()
