"""What a GPU replays must depend on its arguments alone.

Here a recording keeps the places of the first call's, and calls again.
"""

import pytest
import torch
from test_conformance import LEARNED, small

import attar
from attar.augment.dsa import Draw
from attar.engine.cuda_graphs import Recording, Replay, own_copy
from attar.engine.run import Run
from attar.engine.structures import leaves, map_tensors
from attar.methods import find
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS
from attar.training.train import train


class Rehearsed(Recording):
    """A recording without a GPU.

    It sees the tensors and constants of the first call only, and writes to the same places.
    """

    def __init__(self, function, arguments):
        own = map_tensors(arguments, own_copy)
        self.places, self.function = tensors(own), lambda: function(*own)
        self.together = [[i] for i in range(len(self.places))]
        self.outputs, self.graph = map_tensors(self.function(), own_copy), self

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


@pytest.fixture
def called():
    """Replays that are plain calls."""
    patch = pytest.MonkeyPatch()

    def begin():
        patch.setattr(Replay, "__call__", lambda self, *arguments: self.function(*arguments))

    yield begin
    patch.undo()


CALLED = ("gan-latents", "kip")  # their updates are called on a GPU too
CASES: list[tuple[str, dict]] = [(name, {}) for name in LEARNED]
CASES += [(name, {"keep_real": True, "ipm": 3}) for name in LEARNED if hasattr(find(name), "keep_real")]
CASES += [("discrepancy", {"discrepancy": "sliced"})]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_replayed_updates_are_the_called_ones(name, settings, recorded, called, task):
    method = small(name, updates=9, **settings)
    replayed = method(task, 2, Run(Rng.of(0))).images
    assert (name not in CALLED) <= len(recorded) <= 6  # networks that are trained first among them
    called()
    assert torch.equal(replayed, method(task, 2, Run(Rng.of(0))).images)


@pytest.mark.parametrize("protocol", ["dm", "idc", "dc-mnist"])
def test_replayed_training_is_the_called_one(protocol, recorded, called, task):
    made = attar.condense(task, "random", 4)
    short = attar.Protocol("short", "", 6, 5, "half", PROTOCOLS[protocol].augment, cutmix=0.5)
    replayed = [row.per_class for row in attar.evaluate(made, task, protocol=short, seeds=2)]
    assert len(recorded) in (2, 4)  # whole batches and the rest of an epoch
    called()
    assert replayed == [row.per_class for row in attar.evaluate(made, task, protocol=short, seeds=2)]


def test_replayed_inner_training_is_the_called_one(recorded, called, task):
    w, (x, y) = task.network.init(Rng.of(0)), (task.images(torch.arange(11)), task.train.y[:11])
    given = {"epochs": 3, "batch": 4, "rng": Rng.of(1), "cutmix": 0.5, "augment": PROTOCOLS["dm"].augment}
    run = Run(Rng.of(0))
    replayed = [own.clone() for own in tensors(train(task.network, w, x, y, run=run, **given))]
    assert len(recorded) == 2  # whole batches and the rest of an epoch
    train(task.network, w, x, y, run=run, steps=2, rng=Rng.of(2))
    assert len(recorded) == 3  # all images, and none mixed
    called()
    expected = tensors(train(task.network, w, x, y, run=Run(Rng.of(0)), **given))
    assert all(torch.equal(a, b) for a, b in zip(replayed, expected, strict=True))


def test_tensors_are_found_and_changed_wherever_they_are():
    given = (Weights({"a": torch.ones(1)}, {}), Draw((("flip", 1),), torch.zeros(2, 2)), None, 0.5)
    found = [leaf if not isinstance(leaf, torch.Tensor) else leaf.shape[0] for leaf in leaves(given)]
    assert found == [1, "flip", 1, 2, None, 0.5]
    w, draw, *constants = map_tensors(given, lambda x: x + 1)
    assert w.params["a"] == 2 and draw.ops == given[1].ops and (draw.table == 1).all() and constants == [None, 0.5]
