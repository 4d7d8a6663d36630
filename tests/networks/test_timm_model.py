"""Networks of timm: built without weights, or one sentence that says what is missing."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from attar.networks.by_name import make_network
from attar.rng import Rng


@pytest.fixture
def fake(monkeypatch):
    """A timm of one model for each kind of input, which keeps what it was asked for."""
    asked = []

    def create_model(name, *, in_chans, num_classes, **options):
        asked.append({"name": name, "in_chans": in_chans, "num_classes": num_classes, **options})
        if name == "broken":
            raise KeyError("no\nway")
        return nn.Sequential(
            nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    module = ModuleType("timm")
    module.__version__, module.asked = "9.9", asked
    module.list_models = lambda: ["free", "sized", "broken"]
    module.is_model, module.create_model = lambda name: name in module.list_models(), create_model
    about = {"sized": SimpleNamespace(fixed_input_size=True), "free": SimpleNamespace(fixed_input_size=False)}
    module.models = SimpleNamespace(get_pretrained_cfg=about.get)
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


@pytest.mark.parametrize("name, sized", [("free", {}), ("sized", {"img_size": (10, 8)})])
def test_a_model_is_built_without_weights_for_these_images_and_classes(name, sized, fake):
    family = make_network(f"timm:{name}", (1, 10, 8), 5)
    assert family.scores(family.init(Rng.of(0)), torch.zeros(2, 1, 10, 8)).shape == (2, 5)
    expected = {"name": name, "in_chans": 1, "num_classes": 5, "pretrained": False, **sized}
    assert all(one == expected for one in fake.asked)
    assert family.name == f"timm:{name}" and not family.replayable
    assert pickle.loads(pickle.dumps(family)).key == family.key
    fake.__version__ = "10.0"  # may build another model under the same name
    assert make_network(f"timm:{name}", (1, 10, 8), 5).key != family.key


@pytest.mark.parametrize(
    "name, told",
    [
        ("fre", r"timm 9.9 has no model 'fre', did you mean 'free'\?$"),
        ("xyz", "timm 9.9 has no model 'xyz'$"),
        ("broken", r"timm:broken cannot be built for images of shape \(1, 8, 8\): KeyError: "),
    ],
)
def test_a_model_that_is_not_there_or_not_for_such_images_is_named(name, told, fake):
    with pytest.raises(ValueError, match=told):
        make_network(f"timm:{name}", (1, 8, 8), 5)


def test_without_timm_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"networks of timm need the package timm: pip install 'attar\[timm\]'"):
        make_network("timm:resnet18", (3, 32, 32), 10)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_timms_own_models_score_small_images(name):
    pytest.importorskip("timm", reason="timm is not installed: pip install 'attar[timm]'")
    family = make_network(f"timm:{name}", (3, 32, 32), 7)
    assert family.scores(family.init(Rng.of(0)), torch.zeros(2, 3, 32, 32)).shape == (2, 7)
