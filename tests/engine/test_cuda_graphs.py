"""What a GPU replays must depend on its arguments alone: here a recording keeps the places of the first call's and calls again."""

import pytest
import torch
from test_conformance import LEARNED, small

import attar
from attar.augment.dsa import Draw
from attar.engine.cuda_graphs import Recording, Replay, copied, leaves, map_tensors
from attar.engine.run import Run
from attar.networks.network import Weights
from attar.rng import Rng


class Rehearsed(Recording):
    """A recording without a GPU: it sees the tensors and constants of the first call only, and writes to the same places."""

    def __init__(self, function, arguments):
        own = map_tensors(arguments, copied)
        self.places, self.function = tensors(own), lambda: function(*own)
        self.together = [[i] for i in range(len(self.places))]
        self.outputs, self.graph = map_tensors(self.function(), copied), self

    def replay(self):
        for place, value in zip(tensors(self.outputs), tensors(self.function()), strict=True):
            place.copy_(value.detach())


def tensors(value):
    return [leaf for leaf in leaves(value) if isinstance(leaf, torch.Tensor)]


@pytest.fixture
def recorded(monkeypatch):
    made = []

    def call(self, *arguments):
        found = list(leaves(arguments))
        kind = tuple((leaf.shape, leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf for leaf in found)
        if kind not in self.recordings:
            made.append(kind)
            self.recordings[kind] = Rehearsed(self.function, arguments)
        return self.recordings[kind](tensors(arguments))

    monkeypatch.setattr(Replay, "__call__", call)
    return made


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize(
    "settings", [{}, {"keep_real": True, "ipm": 3}, {"networks": 2, "discrepancy": "sliced"}], ids=str
)
def test_replayed_updates_are_the_called_ones(name, settings, recorded, task):
    method = small(name, updates=9, **settings)
    replayed = method(task, 2, Run(Rng.of(0))).images
    kinds = len(recorded)
    assert kinds <= 6  # networks that are trained first among them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "__call__", lambda self, *arguments: self.function(*arguments))
        assert torch.equal(replayed, method(task, 2, Run(Rng.of(0))).images)


@pytest.mark.parametrize("protocol", ["dm", "idc", "dc-mnist"])
def test_replayed_training_is_the_called_one(protocol, recorded, task):
    made = attar.condense(task, "random", 4)
    short = attar.protocol.Protocol("short", "", 6, 5, "half", attar.protocol.PROTOCOLS[protocol].augment, cutmix=0.5)
    replayed = [row.per_class for row in attar.evaluate(made, task, protocol=short, seeds=2)]
    assert len(recorded) in (2, 4)  # whole batches and the rest of an epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "__call__", lambda self, *arguments: self.function(*arguments))
        assert replayed == [row.per_class for row in attar.evaluate(made, task, protocol=short, seeds=2)]


def test_tensors_are_found_and_changed_wherever_they_are():
    given = (Weights({"a": torch.ones(1)}, {}), Draw((("flip", 1),), torch.zeros(2, 2)), None, 0.5)
    assert [leaf if not isinstance(leaf, torch.Tensor) else leaf.shape[0] for leaf in leaves(given)] == [
        1,
        "flip",
        1,
        2,
        None,
        0.5,
    ]
    other = map_tensors(given, lambda x: x + 1)
    assert (
        other[0].params["a"] == 2
        and other[1].ops == given[1].ops
        and (other[1].table == 1).all()
        and other[2:] == (None, 0.5)
    )
