"""Generators: Attar's own for any size, and a user's, whose shape and classes are those of the data."""

import pickle

import pytest
import torch
from conftest import toy
from safetensors.torch import save_file

from attar.networks.generator import Generator, make_critic
from attar.rng import Rng

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 9), (3, 7, 10), (2, 1, 1), (1, 3, 5)]

OWN = """
import torch
from torch import nn

class Made(nn.Module):
    codes = 5

    def __init__(self, shape, classes):
        super().__init__()
        self.shape, self.classes = {shape}, {classes}
        self.label, self.norm = nn.Embedding(self.classes, 5), nn.BatchNorm1d(5)
        self.last = nn.Linear(5, torch.Size(self.shape).numel())

    def forward(self, z, y):
        return self.last(self.norm(z * self.label(y))).view(len(z), *self.shape).tanh()
"""


def write(folder, shape="shape", classes="classes", code=OWN):
    (folder / "own.py").write_text(code.format(shape=shape, classes=classes))
    return f"{folder}/own.py:Made"


def some(family, n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, family.codes, generator=generator), torch.arange(n) % 3


@pytest.mark.parametrize("shape", SHAPES)
def test_own_generators_give_images_of_any_size_and_cost_little(shape):
    family, critic = Generator.own(shape, 3), make_critic(shape, 3)
    x = family.images(family.init(Rng.of(0)), *some(family))
    assert x.shape == (6, *shape) and x.min() >= 0 and x.max() <= 1
    judged, scores = critic.call(critic.init(Rng.of(0)), 2 * x - 1)
    assert judged.shape == (6,) and scores.shape == (6, 3)
    assert family.flop <= 10e6


def test_an_image_depends_on_its_code_and_class_alone():
    family = Generator.own((1, 8, 8), 3)
    w, (z, y) = family.init(Rng.of(0)), some(family)
    x = family.images(w, z, y)
    torch.testing.assert_close(x[2:4], family.images(w, z[2:4], y[2:4]))
    assert not torch.equal(x[:1], family.images(w, z[:1], y[1:2])) and not torch.equal(x[0], x[3])


def test_families_are_told_apart_and_travel():
    family = Generator.own((1, 8, 8), 3)
    again = pickle.loads(pickle.dumps(family))
    assert again == family and hash(again) == hash(family) and family.pure.key != Generator.own((1, 8, 8), 4).pure.key
    w = family.init(Rng.of(0))
    assert torch.equal(again.images(w, *some(family)), family.images(w, *some(family)))


def test_ones_own_generator_with_its_weights(tmp_path):
    task, name = toy(), write(tmp_path)
    family = Generator.of_user(name, task.shape, 3)
    module = family.build()
    module.norm.running_mean.fill_(0.3)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    trained = task.with_generator(name, tmp_path / "w.safetensors").generator
    z, y = some(family)
    expected = (module.eval()(z, y) + 1) / 2  # with the statistics that came with the weights
    assert torch.equal(trained.family.images(trained.weights, z, y), expected)
    assert trained.identity.startswith("Made-") and ", weights " in trained.identity


@pytest.mark.parametrize(
    "shape, classes, told",
    [
        ("(1, 9, 8)", "classes", r"gives images of \(1, 9, 8\); expected 3 classes and images of \(1, 8, 8\)"),
        ("shape", "10", r"has 10 classes; expected 3 classes and images of \(1, 8, 8\), as the data has$"),
        ("shape", "'many'", r"has no whole number 'classes'|cannot be called with \(shape, classes\)"),
    ],
)
def test_a_generator_of_another_shape_or_class_count_is_refused(shape, classes, told, tmp_path):
    name = write(tmp_path, shape, classes)
    (tmp_path / "w").write_bytes(b"")
    with pytest.raises(ValueError, match=told):
        toy().with_generator(name, tmp_path / "w")


def test_what_is_missing_or_does_not_fit_is_named(tmp_path):
    task, name = toy(), write(tmp_path)
    with pytest.raises(ValueError, match=r"generator is 'stylegan'; expected file.py:Name"):
        task.with_generator("stylegan", tmp_path / "w")
    with pytest.raises(ValueError, match="needs a file of its weights"):
        task.with_generator(name)
    with pytest.raises(ValueError, match=r"no such file: .*gone"):
        task.with_generator(name, tmp_path / "gone")
    save_file(Generator.of_user(name, (1, 8, 8), 10).build().state_dict(), tmp_path / "w")
    with pytest.raises(ValueError, match=r"w does not hold .*: label.weight has the shape \(10, 5\), and not \(3, 5\)"):
        task.with_generator(name, tmp_path / "w")
    (tmp_path / "own.py").write_text(
        OWN.format(shape="shape", classes="classes").replace("z * self", "z[0, 0, 0] * self")
    )
    with pytest.raises(ValueError, match="cannot be called with codes and classes: IndexError"):
        task.with_generator(name, tmp_path / "w")
